-- name: begin_audit_line
-- The next number of a chain, and the hash of the line before it; the lock lets lines follow one another.
INSERT INTO sync.audit_chains AS c (chain_id, number, hash)
VALUES (%(chain_id)s, 1, '')
ON CONFLICT (chain_id) DO UPDATE SET number = c.number + 1
RETURNING c.number, c.hash, (extract(epoch FROM now()) * 1000)::bigint AS at;

-- name: add_audit_line
WITH line AS (
    INSERT INTO sync.audit_lines
        (chain_id, number, bucket, at, action, entity, entity_id, stamp, changes, user_id, realm, role, client_id, via,
        request_id, content_digest, address_digest, hash)
    VALUES (%(chain_id)s, %(number)s, %(bucket)s, %(at)s, %(action)s, %(entity)s, %(entity_id)s, %(stamp)s, %(changes)s,
        %(user_id)s, %(realm)s, %(role)s, %(client_id)s, %(via)s, %(request_id)s, %(content_digest)s, %(address_digest)s,
        %(hash)s)
    RETURNING 1
)
INSERT INTO sync.audit_details (chain_id, number, subject_id, user_id, content, content_salt, address, address_salt)
VALUES (%(chain_id)s, %(number)s, %(subject_id)s, %(user_id)s, %(content)s, %(content_salt)s, %(address)s, %(address_salt)s);

-- name: end_audit_line
UPDATE sync.audit_chains SET hash = %(hash)s WHERE chain_id = %(chain_id)s;

-- name: begin_space_line
-- The space is locked.
SELECT audit_number + 1 AS number, audit_hash AS hash, (extract(epoch FROM now()) * 1000)::bigint AS at
FROM sync.spaces
WHERE id = %(chain_id)s;

-- name: end_space_line
UPDATE sync.spaces SET audit_number = %(number)s, audit_hash = %(hash)s WHERE id = %(chain_id)s;

-- name: push_changes_audited
-- Where the realm says "history": "full": what was replaced is noted, and a line of the space's chain covers the changes. The lock
-- on the space keeps the chain in order; its end stands in the space's row, which is written anyway. What is hashed is what
-- audit/chain.py says; on CockroachDB sha256 gives hexadecimal text, which the cast makes bytes of, so it is so twice.
-- as push_changes, but for these parts
WITH changed AS (
    SELECT j.*, before.stamp AS old_stamp, before.ordinal AS old_ordinal,
        CASE WHEN before.recorded IS NULL THEN j.stored_data END AS old_data
    FROM judged j
    LEFT JOIN LATERAL (
        SELECT r.stamp, r.ordinal, h.space_id AS recorded
        FROM sync.rows r
        LEFT JOIN sync.history h
            ON h.space_id = r.space_id AND h.stamp = r.stamp AND h.ordinal = r.ordinal
            AND (h.row_data IS NOT NULL OR h.operation = 'D')
        WHERE r.space_id = j.space_id AND r.tablename = j.tablename AND r.rowguid = j.rowguid
        OFFSET 0
    ) before ON true
    WHERE j.verdict IN ('new', 'seen', 'won')
),
recorded AS (
    INSERT INTO sync.history
        (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date, row_data, old_stamp,
        old_ordinal, old_data)
    SELECT space_id, stamp, ordinal, %(user_id)s, %(client_id)s, tablename, rowguid, operation, client_date, row_data,
        old_stamp, old_ordinal, old_data
    FROM changed
    RETURNING 1
),
salted AS (
    SELECT gen_random_uuid()::text AS content_salt, gen_random_uuid()::text AS address_salt
),
covered AS (
    SELECT
        c.ordinal,
        encode(sha256(convert_to(concat(
            '36:', salted.content_salt, ' ', c.ordinal::text, ' 1:', c.operation, ' ', c.client_date::text, ' ',
            octet_length(c.tablename)::text, ':', c.tablename, ' ', octet_length(c.rowguid)::text, ':', c.rowguid, ' ',
            coalesce(octet_length(c.row_data)::text || ':', '-'), c.row_data, ' ',
            coalesce(c.old_stamp::text, '-'), ' ', coalesce(c.old_ordinal::text, '-'), ' ',
            coalesce(octet_length(c.old_data)::text || ':', '-'), c.old_data, ' '
        ), 'UTF8'))::bytea, 'hex') AS digest
    FROM changed c
    CROSS JOIN salted
),
sealed AS (
    SELECT turn.space_id, turn.now, turn.stamp, s.audit_number + 1 AS number, s.audit_hash, content.changes,
        salted.content_salt, salted.address_salt,
        encode(sha256(convert_to(content.digests, 'UTF8'))::bytea, 'hex') AS content_digest,
        encode(sha256(convert_to(concat(
            '36:', salted.address_salt, ' ', coalesce(octet_length(%(address)s::text)::text || ':', '-'), %(address)s::text, ' '
        ), 'UTF8'))::bytea, 'hex') AS address_digest
    FROM turn
    JOIN sync.spaces s ON s.id = turn.space_id
    CROSS JOIN salted
    CROSS JOIN (SELECT count(*) AS changes, string_agg(digest, ' ' ORDER BY ordinal) AS digests FROM covered) content
    WHERE content.changes > 0
),
chained AS (
    SELECT
        sealed.*,
        encode(sha256(convert_to(concat(
            octet_length(audit_hash)::text, ':', audit_hash, ' ', space_id::text, ' ', number::text, ' ', now::text,
            ' 9:rows.push 5:space 36:', space_id::text, ' ', stamp::text, ' ', changes::text, ' ', %(user_id)s::uuid::text, ' ',
            octet_length(%(realm)s::text)::text, ':', %(realm)s::text, ' - ', %(client_id)s::uuid::text, ' 4:wire ',
            coalesce(octet_length(%(request_id)s::text)::text || ':', '-'), %(request_id)s::text, ' ',
            octet_length(content_digest)::text, ':', content_digest, ' ',
            octet_length(address_digest)::text, ':', address_digest, ' '
        ), 'UTF8'))::bytea, 'hex') AS hash
    FROM sealed
),
line AS (
    INSERT INTO sync.audit_lines
        (chain_id, number, bucket, at, action, entity, entity_id, stamp, changes, user_id, realm, client_id, via, request_id,
        content_digest, address_digest, hash)
    SELECT space_id, number, %(bucket)s, now, 'rows.push', 'space', space_id::text, stamp, changes, %(user_id)s, %(realm)s,
        %(client_id)s, 'wire', %(request_id)s, content_digest, address_digest, hash
    FROM chained
    RETURNING 1
),
details AS (
    INSERT INTO sync.audit_details (chain_id, number, subject_id, user_id, content_salt, address, address_salt)
    SELECT space_id, number, %(user_id)s, %(user_id)s, content_salt, %(address)s, address_salt
    FROM chained
    RETURNING 1
),
moved AS (
    UPDATE sync.spaces s SET clock = chained.stamp, audit_number = chained.number, audit_hash = chained.hash
    FROM chained
    WHERE s.id = chained.space_id
    RETURNING s.clock
)
SELECT 1 FROM moved;

-- name: changes_of_push
-- What a push changed, with what was there before, where the history has it.
SELECT h.stamp, h.ordinal, h.operation, h.client_date, h.tablename, h.rowguid, h.row_data, h.old_stamp, h.old_ordinal,
    coalesce(h.old_data, o.row_data) AS old_data
FROM sync.history h
LEFT JOIN sync.history o ON o.space_id = h.space_id AND o.stamp = h.old_stamp AND o.ordinal = h.old_ordinal
WHERE h.space_id = %(space_id)s AND h.stamp = %(stamp)s AND h.ordinal > %(after)s
ORDER BY h.ordinal
LIMIT %(rows)s;

-- name: digests_of_changes
-- Of the history's lines in a range of stamps, as push_changes_audited makes them; null where no push of the list has the stamp.
SELECT h.stamp, h.ordinal,
    CASE WHEN covered.salt IS NOT NULL THEN encode(sha256(convert_to(concat(
        octet_length(covered.salt)::text, ':', covered.salt, ' ', h.ordinal::text, ' 1:', h.operation, ' ', h.client_date::text, ' ',
        octet_length(h.tablename)::text, ':', h.tablename, ' ', octet_length(h.rowguid)::text, ':', h.rowguid, ' ',
        coalesce(octet_length(h.row_data)::text || ':', '-'), h.row_data, ' ',
        coalesce(h.old_stamp::text, '-'), ' ', coalesce(h.old_ordinal::text, '-'), ' ',
        coalesce(octet_length(h.old_data)::text || ':', '-'), h.old_data, ' '
    ), 'UTF8'))::bytea, 'hex') END AS digest
FROM sync.history h
LEFT JOIN unnest(%(stamps)b::bigint[], %(salts)b::text[]) AS covered (stamp, salt) ON covered.stamp = h.stamp
WHERE h.space_id = %(space_id)s AND h.stamp > %(after)s AND h.stamp <= %(up_to)s
ORDER BY h.stamp, h.ordinal;

-- name: chains_after
-- Chains of spaces by their ids: those that have an end, and those of which there are lines.
SELECT chain_id
FROM (
    (SELECT chain_id FROM sync.audit_chains WHERE chain_id > %(after)s ORDER BY chain_id LIMIT %(rows)s)
    UNION
    (SELECT id FROM sync.spaces WHERE id > %(after)s AND audit_number > 0 ORDER BY id LIMIT %(rows)s)
    UNION
    (SELECT DISTINCT chain_id FROM sync.audit_lines WHERE chain_id > %(after)s ORDER BY chain_id LIMIT %(rows)s)
) AS chains
ORDER BY chain_id
LIMIT %(rows)s;

-- name: end_of_chain
-- One row, whatever there is; that of a space is in its row, until there is none.
SELECT coalesce(s.audit_number, c.number, 0) AS number, coalesce(s.audit_hash, c.hash, '') AS hash,
    coalesce(c.pruned, 0) AS pruned, coalesce(c.pruned_hash, '') AS pruned_hash,
    (extract(epoch FROM now()) * 1000)::bigint AS now
FROM (SELECT 1) AS always
LEFT JOIN sync.spaces s ON s.id = %(chain_id)s
LEFT JOIN sync.audit_chains c ON c.chain_id = %(chain_id)s;

-- name: lines_of_chain
SELECT l.chain_id, l.number, l.at, l.action, l.entity, l.entity_id, l.stamp, l.changes, l.user_id, l.realm, l.role, l.client_id,
    l.via, l.request_id, l.content_digest, l.address_digest, l.hash, d.number AS details, d.content, d.content_salt, d.address,
    d.address_salt, subject.id AS subject, actor.id AS actor
FROM sync.audit_lines l
LEFT JOIN sync.audit_details d ON d.chain_id = l.chain_id AND d.number = l.number
LEFT JOIN sync.users subject ON subject.id = d.subject_id
LEFT JOIN sync.users actor ON actor.id = d.user_id
WHERE l.chain_id = %(chain_id)s AND l.number > %(after)s
ORDER BY l.number
LIMIT %(rows)s;

-- name: audit_lines_by_time
-- The last ones first, behind a place. Of each sixteenth of the lines an index has the order.
WITH found AS (
    SELECT l.*
    FROM unnest(%(buckets)b::int4[]) AS b (bucket)
    CROSS JOIN LATERAL (
        SELECT *
        FROM sync.audit_lines
        WHERE bucket = b.bucket AND at >= %(since)s AND at < %(until)s
            AND (at, chain_id, number) < (%(after_at)s, %(after_chain)s, %(after_number)s)
            AND (%(action)s::text IS NULL OR action = %(action)s) AND (%(entity)s::text IS NULL OR entity = %(entity)s)
            AND (%(entity_id)s::text IS NULL OR entity_id = %(entity_id)s)
            AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
        ORDER BY at DESC, chain_id DESC, number DESC
        LIMIT %(rows)s
    ) l
    ORDER BY l.at DESC, l.chain_id DESC, l.number DESC
    LIMIT %(rows)s
)
SELECT l.chain_id, l.number, l.at, l.action, l.entity, l.entity_id, l.stamp, l.changes, l.user_id, u.email, l.realm, l.role,
    l.client_id, l.via, d.address, l.request_id, d.content, d.content_salt IS NULL AS erased, l.hash
FROM found l
LEFT JOIN sync.audit_details d ON d.chain_id = l.chain_id AND d.number = l.number
LEFT JOIN sync.users u ON u.id = l.user_id
ORDER BY l.at DESC, l.chain_id DESC, l.number DESC;

-- name: audit_lines_by_user
-- as audit_lines_by_time, but for these parts
WITH found AS (
    SELECT *
    FROM sync.audit_lines
    WHERE user_id = %(user_id)s AND at >= %(since)s AND at < %(until)s
        AND (at, chain_id, number) < (%(after_at)s, %(after_chain)s, %(after_number)s)
        AND (%(action)s::text IS NULL OR action = %(action)s) AND (%(entity)s::text IS NULL OR entity = %(entity)s)
        AND (%(entity_id)s::text IS NULL OR entity_id = %(entity_id)s)
    ORDER BY at DESC, chain_id DESC, number DESC
    LIMIT %(rows)s
)
SELECT * FROM found;

-- name: audit_lines_by_entity
-- as audit_lines_by_time, but for these parts
WITH found AS (
    SELECT *
    FROM sync.audit_lines
    WHERE entity_id = %(entity_id)s AND at >= %(since)s AND at < %(until)s
        AND (at, chain_id, number) < (%(after_at)s, %(after_chain)s, %(after_number)s)
        AND (%(action)s::text IS NULL OR action = %(action)s) AND (%(entity)s::text IS NULL OR entity = %(entity)s)
        AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
    ORDER BY at DESC, chain_id DESC, number DESC
    LIMIT %(rows)s
)
SELECT * FROM found;

-- name: audit_line
-- as audit_lines_by_time, but for these parts
WITH found AS (
    SELECT * FROM sync.audit_lines WHERE chain_id = %(chain_id)s AND number = %(number)s
)
SELECT * FROM found;

-- name: audited_changes
-- Changes of rows, the last ones first, behind a place; long values are left out. A row's lines are looked for in the time that is
-- asked for: no index leads from a row to its history, which every push would have to write.
WITH found AS (
    SELECT l.*
    FROM unnest(%(buckets)b::int4[]) AS b (bucket)
    CROSS JOIN LATERAL (
        SELECT a.chain_id, a.number, a.at, a.user_id, a.client_id, a.request_id, h.stamp, h.ordinal, h.operation, h.tablename,
            h.rowguid, h.client_date, h.row_data, h.old_stamp, h.old_ordinal, h.old_data
        FROM sync.audit_lines a
        JOIN sync.history h ON h.space_id = a.chain_id AND h.stamp = a.stamp
        WHERE a.bucket = b.bucket AND a.at >= %(since)s AND a.at < %(until)s AND a.at <= %(after_at)s
            AND (a.at, a.chain_id, a.number, h.ordinal)
                < (%(after_at)s, %(after_chain)s, %(after_number)s, %(after_ordinal)s)
            AND (%(tablename)s::text IS NULL OR h.tablename = %(tablename)s)
            AND (%(rowguid)s::text IS NULL OR h.rowguid = %(rowguid)s)
        ORDER BY a.at DESC, a.chain_id DESC, a.number DESC, h.ordinal DESC
        LIMIT %(rows)s
    ) l
    ORDER BY l.at DESC, l.chain_id DESC, l.number DESC, l.ordinal DESC
    LIMIT %(rows)s
)
SELECT l.chain_id, l.number, l.ordinal, l.at, l.user_id, u.email, l.client_id, d.address, l.request_id, l.operation, l.tablename,
    l.rowguid, l.client_date,
    CASE WHEN octet_length(l.row_data) <= %(most)s THEN l.row_data END AS new,
    CASE WHEN octet_length(coalesce(l.old_data, o.row_data)) <= %(most)s THEN coalesce(l.old_data, o.row_data) END AS old,
    coalesce(octet_length(l.row_data), 0)::bigint AS new_bytes,
    coalesce(octet_length(l.old_data), octet_length(o.row_data), 0)::bigint AS old_bytes
FROM found l
LEFT JOIN sync.history o ON o.space_id = l.chain_id AND o.stamp = l.old_stamp AND o.ordinal = l.old_ordinal
LEFT JOIN sync.audit_details d ON d.chain_id = l.chain_id AND d.number = l.number
LEFT JOIN sync.users u ON u.id = l.user_id
ORDER BY l.at DESC, l.chain_id DESC, l.number DESC, l.ordinal DESC;

-- name: audited_changes_by_user
-- as audited_changes, but for these parts
WITH found AS (
    SELECT a.chain_id, a.number, a.at, a.user_id, a.client_id, a.request_id, h.stamp, h.ordinal, h.operation, h.tablename,
        h.rowguid, h.client_date, h.row_data, h.old_stamp, h.old_ordinal, h.old_data
    FROM sync.audit_lines a
    JOIN sync.history h ON h.space_id = a.chain_id AND h.stamp = a.stamp
    WHERE a.user_id = %(user_id)s AND a.at >= %(since)s AND a.at < %(until)s AND a.at <= %(after_at)s
        AND (a.at, a.chain_id, a.number, h.ordinal) < (%(after_at)s, %(after_chain)s, %(after_number)s, %(after_ordinal)s)
        AND (%(tablename)s::text IS NULL OR h.tablename = %(tablename)s)
        AND (%(rowguid)s::text IS NULL OR h.rowguid = %(rowguid)s)
    ORDER BY a.at DESC, a.chain_id DESC, a.number DESC, h.ordinal DESC
    LIMIT %(rows)s
)
SELECT * FROM found;

-- name: erase_audited_content
UPDATE sync.audit_details SET content = NULL, content_salt = NULL WHERE subject_id = %(user_id)s;

-- name: erase_audited_addresses
UPDATE sync.audit_details SET address = NULL, address_salt = NULL WHERE user_id = %(user_id)s;

-- name: keep_end_of_chain
-- Of a space that is about to be removed.
INSERT INTO sync.audit_chains (chain_id, number, hash)
SELECT id, audit_number, audit_hash FROM sync.spaces WHERE id = %(space_id)s AND audit_number > 0
ON CONFLICT (chain_id) DO UPDATE SET number = excluded.number, hash = excluded.hash;

-- name: old_audit_chains
-- Chains with lines of this age, in ms; of no age there are none.
SELECT DISTINCT l.chain_id
FROM unnest(%(buckets)b::int4[]) AS b (bucket)
CROSS JOIN LATERAL (
    SELECT chain_id
    FROM sync.audit_lines
    WHERE bucket = b.bucket AND at <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    ORDER BY at, chain_id, number
    LIMIT %(most)s
) l;

-- name: old_audit_lines
SELECT count(*) FROM sync.audit_lines
WHERE bucket = ANY(%(buckets)b::int4[]) AND at <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint;

-- name: first_audit_lines
-- Of a chain, and whether they are of this age.
SELECT number, hash, at <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint AS old
FROM sync.audit_lines
WHERE chain_id = %(chain_id)s
ORDER BY number
LIMIT %(most)s;

-- name: note_pruned_audit_lines
-- Before they go: the trigger looks. The end of a space's chain is in its row, whatever is said of it here.
INSERT INTO sync.audit_chains AS c (chain_id, number, hash, pruned, pruned_hash)
VALUES (%(chain_id)s, %(number)s, %(hash)s, %(number)s, %(hash)s)
ON CONFLICT (chain_id) DO UPDATE SET pruned = excluded.pruned, pruned_hash = excluded.pruned_hash
WHERE c.pruned < excluded.pruned;

-- name: drop_audit_details
DELETE FROM sync.audit_details WHERE chain_id = %(chain_id)s AND number <= %(number)s;

-- name: drop_audit_lines
DELETE FROM sync.audit_lines WHERE chain_id = %(chain_id)s AND number <= %(number)s;

-- name: rows_unlike_history
-- Rows of a space that do not say what the change that made them did, where the history has its data.
SELECT r.tablename, r.rowguid
FROM sync.rows r
JOIN sync.history h ON h.space_id = r.space_id AND h.stamp = r.stamp AND h.ordinal = r.ordinal
WHERE r.space_id = %(space_id)s AND (h.row_data IS NOT NULL OR h.operation = 'D')
    AND (h.tablename <> r.tablename OR h.rowguid <> r.rowguid OR h.operation <> r.operation
        OR h.row_data IS DISTINCT FROM r.row_data)
ORDER BY r.tablename, r.rowguid
LIMIT %(rows)s;
