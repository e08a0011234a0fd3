-- Everything that is stored about a user, for them. Each statement gives the next page, of about %(bytes)s bytes at most.

-- name: takeout_account
-- now: by the database's clock, like all dates of the archive.
SELECT u.id, u.space_id, u.email, u.name, u.language, u.role, u.active, u.created_at, u.changed_at, now() AS now
FROM sync.users u
WHERE u.id = %(user_id)s;

-- name: takeout_devices
SELECT c.id, c.details, c.created_at, c.last_sync, c.app_version, c.last_error, c.refresh_issued AS signed_in, s.seen, s.pulled_at,
    s.pulled, s.synced_at, s.pushed, s.took, s.error_at, s.error, s.error_call
FROM sync.clients c
LEFT JOIN sync.device_status s ON s.client_id = c.id
WHERE c.user_id = %(user_id)s AND c.id > %(id)s
ORDER BY c.id
LIMIT %(rows)s;

-- name: takeout_activity
SELECT a.client_id, a.day, a.hours
FROM sync.clients c
JOIN sync.activity a ON a.client_id = c.id
WHERE c.user_id = %(user_id)s AND (a.client_id, a.day) > (%(client_id)s, %(day)s)
ORDER BY a.client_id, a.day
LIMIT %(rows)s;

-- name: takeout_sessions
SELECT id, created_at, expires, address, user_agent
FROM sync.admin_sessions
WHERE user_id = %(user_id)s AND id > %(id)s
ORDER BY id
LIMIT %(rows)s;

-- name: takeout_rows
SELECT tablename, rowguid, operation, client_date, stamp, client_id, row_data AS data
FROM (
    SELECT r.*, (sum(coalesce(octet_length(r.row_data), 0)) OVER (ORDER BY r.tablename, r.rowguid))::bigint
        - coalesce(octet_length(r.row_data), 0) AS bytes_before
    FROM (
        SELECT *
        FROM sync.rows
        WHERE space_id = %(space_id)s AND (tablename, rowguid) > (%(tablename)s, %(rowguid)s)
        ORDER BY tablename, rowguid
        LIMIT %(rows)s
    ) r
) page
WHERE bytes_before < %(bytes)s
ORDER BY tablename, rowguid;

-- name: takeout_history
SELECT stamp, ordinal, user_id, client_id, operation, tablename, rowguid, client_date, row_data AS data, old_data
FROM (
    SELECT h.*, (sum(coalesce(octet_length(h.row_data), 0) + coalesce(octet_length(h.old_data), 0))
        OVER (ORDER BY h.stamp, h.ordinal))::bigint
        - coalesce(octet_length(h.row_data), 0) - coalesce(octet_length(h.old_data), 0) AS bytes_before
    FROM (
        SELECT *
        FROM sync.history
        WHERE space_id = %(space_id)s AND (stamp, ordinal) > (%(stamp)s, %(ordinal)s)
        ORDER BY stamp, ordinal
        LIMIT %(rows)s
    ) h
) page
WHERE bytes_before < %(bytes)s
ORDER BY stamp, ordinal;

-- name: takeout_overridden
SELECT tablename, rowguid, id, operation, client_date, stamp, client_id, settled, settled_at, row_data AS data
FROM (
    SELECT o.*, (sum(coalesce(octet_length(o.row_data), 0)) OVER (ORDER BY o.tablename, o.rowguid, o.id))::bigint
        - coalesce(octet_length(o.row_data), 0) AS bytes_before
    FROM (
        SELECT *
        FROM sync.overridden
        WHERE space_id = %(space_id)s AND (tablename, rowguid, id) > (%(tablename)s, %(rowguid)s, %(id)s)
        ORDER BY tablename, rowguid, id
        LIMIT %(rows)s
    ) o
) page
WHERE bytes_before < %(bytes)s
ORDER BY tablename, rowguid, id;

-- name: takeout_kept_aside
SELECT id, client_id, received_at, reason, detail, most, bytes, settled, settled_at, change AS data
FROM (
    SELECT k.*, (sum(coalesce(octet_length(k.change), 0)) OVER (ORDER BY k.id))::bigint
        - coalesce(octet_length(k.change), 0) AS bytes_before
    FROM (
        SELECT * FROM sync.kept_aside WHERE user_id = %(user_id)s AND id > %(id)s ORDER BY id LIMIT %(rows)s
    ) k
) page
WHERE bytes_before < %(bytes)s
ORDER BY id;

-- name: takeout_audit
-- What the user did, and what was done to them: values where they are theirs, addresses where they came from there.
SELECT l.chain_id, l.number, l.at, l.action, l.entity, l.entity_id, l.user_id, l.role, l.client_id, l.via, l.request_id, l.stamp,
    l.changes, CASE WHEN l.user_id = %(user_id)s THEN d.address END AS address,
    CASE WHEN d.subject_id = %(user_id)s THEN d.content END AS data
FROM (
    SELECT chain_id, number FROM sync.audit_details WHERE subject_id = %(user_id)s
    UNION
    SELECT chain_id, number FROM sync.audit_lines WHERE user_id = %(user_id)s
) theirs
JOIN sync.audit_lines l ON l.chain_id = theirs.chain_id AND l.number = theirs.number
LEFT JOIN sync.audit_details d ON d.chain_id = l.chain_id AND d.number = l.number
WHERE (theirs.chain_id, theirs.number) > (%(chain_id)s, %(number)s)
ORDER BY theirs.chain_id, theirs.number
LIMIT %(rows)s;
