-- name: begin_audit_line
-- The next number of a chain, and the hash of the line before it; the lock lets lines follow one another.
INSERT INTO sync.audit_chains AS c (chain_id, number, hash)
VALUES (%(chain_id)s, 1, '')
ON CONFLICT (chain_id) DO UPDATE SET number = c.number + 1
RETURNING c.number, c.hash, (extract(epoch FROM now()) * 1000)::bigint AS at;

-- name: end_audit_line
WITH line AS (
    INSERT INTO sync.audit_lines
        (chain_id, number, bucket, at, action, entity, entity_id, user_id, realm, role, client_id, via, request_id,
        content_digest, address_digest, hash)
    VALUES (%(chain_id)s, %(number)s, %(bucket)s, %(at)s, %(action)s, %(entity)s, %(entity_id)s, %(user_id)s, %(realm)s,
        %(role)s, %(client_id)s, %(via)s, %(request_id)s, %(content_digest)s, %(address_digest)s, %(hash)s)
    RETURNING 1
),
details AS (
    INSERT INTO sync.audit_details
        (chain_id, number, subject_id, user_id, content, content_salt, address, address_salt)
    VALUES (%(chain_id)s, %(number)s, %(subject_id)s, %(user_id)s, %(content)s, %(content_salt)s, %(address)s,
        %(address_salt)s)
    RETURNING 1
)
UPDATE sync.audit_chains SET hash = %(hash)s WHERE chain_id = %(chain_id)s;

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
    RETURNING 1
)
SELECT 1 FROM moved;
