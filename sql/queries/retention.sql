-- Ages are in ms, by the database's clock; without one (null) nothing goes. Each statement removes a bounded number of rows, so
-- that its locks are short; whoever runs them comes again until nothing is left.

-- name: claim_chore
-- For one process alone until next_run; no row when it is not due yet, or another process has it. Nobody puts it off by a day:
-- the database's clock was wrong then, and the work is due.
UPDATE sync.chores
SET next_run = (extract(epoch FROM now()) * 1000)::bigint + %(lease)s
WHERE name = %(chore)s AND (
    next_run <= (extract(epoch FROM now()) * 1000)::bigint
    OR next_run > (extract(epoch FROM now()) * 1000)::bigint + 86400000
);

-- name: finish_chore
UPDATE sync.chores SET next_run = (extract(epoch FROM now()) * 1000)::bigint + %(pause)s WHERE name = %(chore)s;

-- name: prunable_in_spaces
-- The next spaces by id, and how much each has to prune, counted up to most. A tombstone may go when every client of the space
-- that has ever pulled has sent back a cursor at or past its stamp.
SELECT s.id AS space_id,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM sync.rows r
            WHERE r.space_id = s.id AND r.operation = 'D'
                AND r.stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(tombstones)s::bigint
                AND r.stamp <= coalesce((
                    SELECT min(coalesce(c.acknowledged, 0))
                    FROM sync.users u
                    JOIN sync.clients c ON c.user_id = u.id
                    WHERE u.space_id = s.id AND c.first_stamp IS NOT NULL
                ), 9223372036854775807)
            LIMIT %(most)s
        ) AS counted
    ) AS tombstones,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM sync.history h
            WHERE h.space_id = s.id AND h.stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(history)s::bigint
            LIMIT %(most)s
        ) AS counted
    ) AS history,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM sync.history h
            WHERE h.space_id = s.id AND h.stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(deleted)s::bigint
                AND h.old_data IS NOT NULL AND h.old_stamp IS NULL
            LIMIT %(most)s
        ) AS counted
    ) AS deleted,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM sync.overridden o
            WHERE o.space_id = s.id AND o.stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(overridden)s::bigint
            LIMIT %(most)s
        ) AS counted
    ) AS overridden
FROM sync.spaces s
WHERE s.id > %(after)s
ORDER BY s.id
LIMIT %(spaces)s;

-- name: prune_tombstones
-- Under the lock of the space, as a push is; no value where it is taken. What clients have sent back is looked at again: one may
-- just have been restored from a backup. So is the row: it may have come back to life. pruned tells later pulls by devices with
-- an older cursor that tombstones are missing.
WITH space AS (
    SELECT id FROM sync.spaces WHERE id = %(space_id)s FOR UPDATE SKIP LOCKED
),
heard AS (
    SELECT min(coalesce(c.acknowledged, 0)) AS stamp
    FROM sync.users u
    JOIN sync.clients c ON c.user_id = u.id
    WHERE u.space_id = %(space_id)s AND c.first_stamp IS NOT NULL
),
old AS (
    SELECT r.tablename, r.rowguid, r.stamp
    FROM sync.rows r
    JOIN space ON space.id = r.space_id
    CROSS JOIN heard
    WHERE r.space_id = %(space_id)s AND r.operation = 'D'
        AND r.stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
        AND r.stamp <= coalesce(heard.stamp, 9223372036854775807)
    ORDER BY r.stamp
    LIMIT %(most)s
),
gone AS (
    DELETE FROM sync.rows r
    USING old
    WHERE r.space_id = %(space_id)s AND r.tablename = old.tablename AND r.rowguid = old.rowguid
        -- no index is to be chosen by the stamp, which thousands of rows may share
        AND r.operation = 'D' AND r.stamp + 0 = old.stamp
    RETURNING r.stamp
),
marked AS (
    UPDATE sync.spaces s
    SET pruned = greatest(s.pruned, (SELECT max(stamp) FROM gone))
    WHERE s.id = %(space_id)s AND EXISTS (SELECT 1 FROM gone)
    RETURNING 1
)
SELECT CASE WHEN EXISTS (SELECT 1 FROM space) THEN (SELECT count(*) FROM gone) END AS gone;

-- name: prune_history
DELETE FROM sync.history h
USING (
    SELECT space_id, stamp, ordinal
    FROM sync.history
    WHERE space_id = %(space_id)s AND stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    ORDER BY stamp, ordinal
    LIMIT %(most)s
) AS old
WHERE h.space_id = old.space_id AND h.stamp = old.stamp AND h.ordinal = old.ordinal;

-- name: prune_deleted
-- What deletes replaced goes; that there was a delete stays. Where there is an old_stamp, the audit log covers what was replaced.
UPDATE sync.history h
SET old_data = NULL
FROM (
    SELECT space_id, stamp, ordinal
    FROM sync.history
    WHERE space_id = %(space_id)s AND stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
        AND old_data IS NOT NULL AND old_stamp IS NULL
    ORDER BY stamp
    LIMIT %(most)s
) AS old
WHERE h.space_id = old.space_id AND h.stamp = old.stamp AND h.ordinal = old.ordinal;

-- name: prune_overridden
DELETE FROM sync.overridden o
USING (
    SELECT space_id, tablename, rowguid, id
    FROM sync.overridden
    WHERE space_id = %(space_id)s AND stamp <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    ORDER BY stamp
    LIMIT %(most)s
) AS old
WHERE o.space_id = old.space_id AND o.tablename = old.tablename AND o.rowguid = old.rowguid AND o.id = old.id;

-- name: prunable
-- Of what belongs to no space.
SELECT
    (
        SELECT count(*) FROM sync.kept_aside
        WHERE received_at <= now() - %(kept_aside)s::bigint * interval '1 millisecond'
    ) AS kept_aside,
    (
        SELECT count(*) FROM sync.attempts
        WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint - %(attempts)s::bigint
    ) AS attempts,
    (
        SELECT count(*) FROM sync.uploads
        WHERE touched <= (extract(epoch FROM now()) * 1000)::bigint - %(uploads)s::bigint
    ) AS uploads,
    (
        SELECT count(*) FROM sync.pins
        WHERE created <= (extract(epoch FROM now()) * 1000)::bigint - %(pins)s::bigint
    ) AS pins,
    (
        SELECT count(*) FROM sync.stats
        WHERE hour <= (extract(epoch FROM now()) * 1000)::bigint - %(stats)s::bigint
    ) AS stats,
    (
        SELECT count(*) FROM sync.activity
        WHERE day <= (extract(epoch FROM now()) * 1000)::bigint - %(activity)s::bigint
    ) AS activity,
    (
        SELECT count(*) FROM sync.admin_sessions
        WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint - %(admin_sessions)s::bigint
    ) AS admin_sessions,
    (
        SELECT count(*) FROM sync.idempotency_keys
        WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint - %(idempotency_keys)s::bigint
    ) AS idempotency_keys;

-- name: prune_kept_aside
DELETE FROM sync.kept_aside
WHERE id IN (
    SELECT id FROM sync.kept_aside
    WHERE received_at <= now() - %(age)s::bigint * interval '1 millisecond'
    LIMIT %(most)s
);

-- name: prune_attempts
DELETE FROM sync.attempts a
USING (
    SELECT key, item FROM sync.attempts
    WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    ORDER BY expires
    LIMIT %(most)s
) AS old
WHERE a.key = old.key AND a.item = old.item AND a.expires <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint;

-- name: prune_uploads
-- Their parts go with them.
DELETE FROM sync.uploads u
USING (
    SELECT client_id, call, sync_id FROM sync.uploads
    WHERE touched <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    LIMIT %(most)s
) AS old
WHERE u.client_id = old.client_id AND u.call = old.call AND u.sync_id = old.sync_id
    AND u.touched <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint;

-- name: prune_pins
DELETE FROM sync.pins
WHERE created <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint AND user_id IN (
    SELECT user_id FROM sync.pins
    WHERE created <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    LIMIT %(most)s
);

-- name: prune_stats
DELETE FROM sync.stats s
USING (
    SELECT name, hour FROM sync.stats
    WHERE hour <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    LIMIT %(most)s
) AS old
WHERE s.name = old.name AND s.hour = old.hour;

-- name: prune_activity
DELETE FROM sync.activity a
USING (
    SELECT client_id, day FROM sync.activity
    WHERE day <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    LIMIT %(most)s
) AS old
WHERE a.client_id = old.client_id AND a.day = old.day;

-- name: prune_admin_sessions
DELETE FROM sync.admin_sessions
WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint AND id IN (
    SELECT id FROM sync.admin_sessions
    WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    LIMIT %(most)s
);

-- name: prune_idempotency_keys
-- One that has just been claimed anew stays.
DELETE FROM sync.idempotency_keys k
USING (
    SELECT user_id, key FROM sync.idempotency_keys
    WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint
    LIMIT %(most)s
) AS old
WHERE k.user_id = old.user_id AND k.key = old.key
    AND k.expires <= (extract(epoch FROM now()) * 1000)::bigint - %(age)s::bigint;
