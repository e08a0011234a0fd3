-- What an operator sees of rows. Lists give the beginning of a row's data, and look at a bounded number of rows for each page.

-- name: space_of_user_id
SELECT space_id FROM sync.users WHERE id = %(user_id)s;

-- name: browse_rows
-- Of the spaces from least to last, the last one first, in each the newest version first, from the place (last, stamp, ordinal) on.
-- At most `look` versions of at most `spaces` spaces are looked at. Those that match come back, and the last one in any case, so
-- that one can go on from there. Data of more than 1 MiB is not searched. That of a deleted row is what its delete replaced, as
-- far as the history has it (OFFSET 0: it is looked up row by row, whatever PostgreSQL expects).
WITH looked AS (
    SELECT s.id AS space_id, r.*, d.data AS deleted,
        (%(tablename)s::text IS NULL OR r.tablename = %(tablename)s)
        AND (%(gone)s::boolean IS NULL OR (r.operation = 'D') = %(gone)s)
        AND (
            %(search)s::text IS NULL OR strpos(lower(r.rowguid), %(search)s) > 0
            OR CASE
                WHEN octet_length(coalesce(r.row_data, d.data)) <= 1048576
                    THEN strpos(lower(coalesce(r.row_data, d.data)), %(search_data)s::text) > 0
            END
        ) AS matches
    FROM (
        SELECT id
        FROM sync.spaces
        WHERE id >= %(least)s::uuid AND id <= %(last)s::uuid
        ORDER BY id DESC
        LIMIT %(spaces)s
    ) s
    CROSS JOIN LATERAL (
        SELECT tablename, rowguid, operation, row_data, client_date, stamp, ordinal, client_id
        FROM sync.rows
        WHERE space_id = s.id AND stamp >= %(since)s::bigint AND stamp < %(until)s::bigint
            AND (stamp, ordinal) < (
                CASE WHEN s.id = %(last)s THEN %(stamp)s::bigint ELSE 9223372036854775807 END,
                CASE WHEN s.id = %(last)s THEN %(ordinal)s::integer ELSE 0 END
            )
        ORDER BY stamp DESC, ordinal DESC
        LIMIT %(look)s
    ) r
    LEFT JOIN LATERAL (
        SELECT coalesce(h.old_data, o.row_data) AS data
        FROM sync.history h
        LEFT JOIN sync.history o ON o.space_id = h.space_id AND o.stamp = h.old_stamp AND o.ordinal = h.old_ordinal
        WHERE r.operation = 'D' AND h.space_id = s.id AND h.stamp = r.stamp AND h.ordinal = r.ordinal
            AND h.tablename = r.tablename AND h.rowguid = r.rowguid
        OFFSET 0
    ) d ON true
    ORDER BY s.id DESC, r.stamp DESC, r.ordinal DESC
    LIMIT %(look)s
),
counted AS (
    SELECT *, row_number() OVER so_far AS place,
        (sum(CASE WHEN matches THEN 1 ELSE 0 END) OVER so_far)::bigint AS found, count(*) OVER () AS looked
    FROM looked
    WINDOW so_far AS (ORDER BY space_id DESC, stamp DESC, ordinal DESC ROWS UNBOUNDED PRECEDING)
)
SELECT r.space_id, r.tablename, r.rowguid, r.operation, r.client_date, r.client_id, r.stamp, r.ordinal,
    coalesce(octet_length(r.row_data), 0)::bigint AS bytes, substr(r.row_data, 1, 200) AS preview,
    octet_length(r.deleted)::bigint AS deleted_bytes, substr(r.deleted, 1, 200) AS deleted_preview,
    u.user_id, u.email, c.details AS client_details, coalesce(r.matches, false) AS matches, r.looked
FROM counted r
LEFT JOIN LATERAL (
    SELECT id AS user_id, email FROM sync.users WHERE space_id = r.space_id ORDER BY created_at, id LIMIT 1
) u ON true
LEFT JOIN sync.clients c ON c.id = r.client_id
WHERE (r.matches AND r.found <= %(fetch)s) OR r.place = r.looked
ORDER BY r.place;

-- name: space_to_go_on_from
-- The last of `spaces` spaces; no row where there are not so many.
SELECT id
FROM (
    SELECT id, row_number() OVER (ORDER BY id DESC) AS place
    FROM sync.spaces
    WHERE id >= %(least)s::uuid AND id <= %(last)s::uuid
    ORDER BY id DESC
    LIMIT %(spaces)s
) s
WHERE place = %(spaces)s;

-- name: row_in_full
SELECT r.operation, r.row_data, r.client_date, r.client_id, r.stamp, r.ordinal, c.details AS client_details,
    octet_length(coalesce(h.old_data, o.row_data))::bigint AS deleted_bytes,
    substr(coalesce(h.old_data, o.row_data), 1, 200) AS deleted_preview
FROM sync.rows r
LEFT JOIN sync.clients c ON c.id = r.client_id
LEFT JOIN sync.history h
    ON r.operation = 'D' AND h.space_id = r.space_id AND h.stamp = r.stamp AND h.ordinal = r.ordinal
    AND h.tablename = r.tablename AND h.rowguid = r.rowguid
LEFT JOIN sync.history o ON o.space_id = h.space_id AND o.stamp = h.old_stamp AND o.ordinal = h.old_ordinal
WHERE r.space_id = %(space_id)s AND r.tablename = %(tablename)s AND r.rowguid = %(rowguid)s;

-- name: user_of_space
SELECT id AS user_id, email FROM sync.users WHERE space_id = %(space_id)s ORDER BY created_at, id LIMIT 1;

-- name: recorded_versions
-- The history of a row, newest first, from a place on: `look` lines of the space are looked at. The last of them comes back
-- in any case, so that one can go on from there. With a delete what it replaced.
WITH looked AS (
    SELECT h.*, h.tablename = %(tablename)s AND h.rowguid = %(rowguid)s AS matches
    FROM sync.history h
    WHERE h.space_id = %(space_id)s AND (h.stamp, h.ordinal) < (%(stamp)s::bigint, %(ordinal)s::integer)
    ORDER BY h.stamp DESC, h.ordinal DESC
    LIMIT %(look)s
),
counted AS (
    SELECT *, row_number() OVER so_far AS place,
        (sum(CASE WHEN matches THEN 1 ELSE 0 END) OVER so_far)::bigint AS found, count(*) OVER () AS looked
    FROM looked
    WINDOW so_far AS (ORDER BY stamp DESC, ordinal DESC ROWS UNBOUNDED PRECEDING)
)
SELECT r.operation, r.client_date, r.client_id, r.user_id, r.stamp, r.ordinal, r.row_data IS NOT NULL AS complete,
    coalesce(octet_length(r.row_data), 0)::bigint AS bytes, substr(r.row_data, 1, 200) AS preview,
    octet_length(d.data)::bigint AS deleted_bytes, substr(d.data, 1, 200) AS deleted_preview,
    c.details AS client_details, r.matches, r.looked
FROM counted r
LEFT JOIN sync.clients c ON c.id = r.client_id
LEFT JOIN LATERAL (
    SELECT coalesce(r.old_data, o.row_data) AS data
    FROM (SELECT 1) AS always
    LEFT JOIN sync.history o ON o.space_id = r.space_id AND o.stamp = r.old_stamp AND o.ordinal = r.old_ordinal
    WHERE r.operation = 'D'
    OFFSET 0
) d ON true
WHERE (r.matches AND r.found <= %(fetch)s) OR r.place = r.looked
ORDER BY r.place;

-- name: overridden_versions
-- Those of a row, newest first.
SELECT o.id, o.operation, o.client_date, o.client_id, o.stamp, coalesce(octet_length(o.row_data), 0)::bigint AS bytes,
    substr(o.row_data, 1, 200) AS preview, o.settled, o.settled_at, c.details AS client_details
FROM sync.overridden o
LEFT JOIN sync.clients c ON c.id = o.client_id
WHERE o.space_id = %(space_id)s AND o.tablename = %(tablename)s AND o.rowguid = %(rowguid)s
ORDER BY o.stamp DESC, o.id DESC
LIMIT %(most)s;

-- name: open_conflicts
-- Versions that lost, newest first, from a place on, each with what is stored now. Of each space no more are looked at than make a
-- page, so it costs as much on the hundredth page as on the first.
WITH page AS (
    SELECT o.*
    FROM sync.spaces s
    CROSS JOIN LATERAL (
        SELECT space_id, tablename, rowguid, id, operation, row_data, client_date, client_id, stamp, settled, settled_at
        FROM sync.overridden
        WHERE space_id = s.id AND settled IS NULL AND stamp >= %(since)s::bigint AND stamp < %(until)s::bigint
            AND (stamp, id) < (%(stamp)s::bigint, %(id)s::uuid) AND (%(tablename)s::text IS NULL OR tablename = %(tablename)s)
        ORDER BY stamp DESC, id DESC
        LIMIT %(fetch)s
    ) o
    WHERE s.id >= %(least)s::uuid AND s.id <= %(last)s::uuid
    ORDER BY o.stamp DESC, o.id DESC
    LIMIT %(fetch)s
)
SELECT o.space_id, o.tablename, o.rowguid, o.id, o.operation, o.client_date, o.client_id, o.stamp,
    coalesce(octet_length(o.row_data), 0)::bigint AS bytes, substr(o.row_data, 1, 200) AS preview,
    c.details AS client_details, o.settled, o.settled_at, u.user_id, u.email,
    r.operation AS stored_operation, r.client_date AS stored_client_date, r.client_id AS stored_client_id,
    r.stamp AS stored_stamp, coalesce(octet_length(r.row_data), 0)::bigint AS stored_bytes,
    substr(r.row_data, 1, 200) AS stored_preview, d.details AS stored_client_details
FROM page o
LEFT JOIN sync.rows r ON r.space_id = o.space_id AND r.tablename = o.tablename AND r.rowguid = o.rowguid
LEFT JOIN sync.clients c ON c.id = o.client_id
LEFT JOIN sync.clients d ON d.id = r.client_id
LEFT JOIN LATERAL (
    SELECT id AS user_id, email FROM sync.users WHERE space_id = o.space_id ORDER BY created_at, id LIMIT 1
) u ON true
ORDER BY o.stamp DESC, o.id DESC;

-- name: all_conflicts
-- Also those that are settled, but not what an operator has replaced.
-- with the rest of open_conflicts
WITH page AS (
    SELECT o.*
    FROM sync.spaces s
    CROSS JOIN LATERAL (
        SELECT space_id, tablename, rowguid, id, operation, row_data, client_date, client_id, stamp, settled, settled_at
        FROM sync.overridden
        WHERE space_id = s.id AND settled IS DISTINCT FROM 'replaced'
            AND stamp >= %(since)s::bigint AND stamp < %(until)s::bigint
            AND (stamp, id) < (%(stamp)s::bigint, %(id)s::uuid) AND (%(tablename)s::text IS NULL OR tablename = %(tablename)s)
        ORDER BY stamp DESC, id DESC
        LIMIT %(fetch)s
    ) o
    WHERE s.id >= %(least)s::uuid AND s.id <= %(last)s::uuid
    ORDER BY o.stamp DESC, o.id DESC
    LIMIT %(fetch)s
)
SELECT * FROM page;

-- name: one_conflict
-- with the rest of open_conflicts
WITH page AS (
    SELECT space_id, tablename, rowguid, id, operation, row_data, client_date, client_id, stamp, settled, settled_at
    FROM sync.overridden
    WHERE space_id = %(space_id)s AND tablename = %(tablename)s AND rowguid = %(rowguid)s AND id = %(id)s
)
SELECT * FROM page;

-- name: changes_aside
-- What is kept aside, newest first. There is little of it: whatever breaks a limit does so again and again, and is kept once.
SELECT k.id, k.user_id, u.email, u.space_id, k.client_id, c.details AS client_details, k.received_at, k.reason, k.detail, k.most,
    k.bytes, substr(k.change, 1, 200) AS preview, k.change IS NOT NULL AS complete, k.settled, k.settled_at
FROM sync.kept_aside k
JOIN sync.users u ON u.id = k.user_id
LEFT JOIN sync.clients c ON c.id = k.client_id
WHERE (%(also_settled)s OR k.settled IS NULL) AND (%(user_id)s::uuid IS NULL OR k.user_id = %(user_id)s)
    AND (%(id)s::uuid IS NULL OR k.id = %(id)s)
    AND k.received_at >= %(since)s AND k.received_at < %(until)s
    AND (k.received_at, k.id) < (%(received_at)s, %(after_id)s::uuid)
ORDER BY k.received_at DESC, k.id DESC
LIMIT %(fetch)s;

-- name: settle_aside
UPDATE sync.kept_aside SET settled = %(settled)s, settled_at = now()
WHERE id = %(id)s AND settled IS DISTINCT FROM %(settled)s;
