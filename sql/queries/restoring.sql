-- An operator brings versions back. Each is what a device would do that has just joined, has pulled all there is, and pushes an
-- edit, in one moment: under the lock of the space, and under a client id that is no device's, so that every device gets it.

-- name: current_version
SELECT operation, row_data, client_date, client_id, stamp
FROM sync.rows
WHERE space_id = %(space_id)s AND tablename = %(tablename)s AND rowguid = %(rowguid)s;

-- name: restore_version
-- The space is locked. What is replaced is kept: the operator may have been wrong. It is settled from the start, for it has lost
-- no conflict. The rank is above that of the version before, as for any later version, so a device's edit that had not seen it
-- wins only where it is later.
WITH turn AS (
    SELECT (extract(epoch FROM now()) * 1000)::bigint AS now,
        greatest((extract(epoch FROM now()) * 1000)::bigint, s.clock + 1) AS stamp
    FROM sync.spaces s
    WHERE s.id = %(space_id)s
),
stored AS (
    SELECT r.*
    FROM sync.rows r
    WHERE r.space_id = %(space_id)s AND r.tablename = %(tablename)s AND r.rowguid = %(rowguid)s
),
kept AS (
    INSERT INTO sync.overridden
        (space_id, tablename, rowguid, operation, row_data, client_date, client_id, stamp, settled, settled_at)
    SELECT stored.space_id, stored.tablename, stored.rowguid, stored.operation, stored.row_data, stored.client_date,
        stored.client_id, turn.stamp, 'replaced', now()
    FROM stored
    CROSS JOIN turn
    WHERE NOT EXISTS (
        SELECT 1
        FROM sync.overridden o
        WHERE o.space_id = stored.space_id AND o.tablename = stored.tablename AND o.rowguid = stored.rowguid
            AND o.client_id = stored.client_id AND o.operation = stored.operation
            AND o.client_date = stored.client_date AND o.row_data IS NOT DISTINCT FROM stored.row_data
    )
    RETURNING 1
),
put AS (
    INSERT INTO sync.rows
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT %(space_id)s, %(tablename)s, %(rowguid)s, %(operation)s, %(row_data)s, turn.stamp,
        greatest(turn.now, stored.rank + 1), turn.stamp, 0, %(operator)s
    FROM turn
    LEFT JOIN stored ON true
    ON CONFLICT (space_id, tablename, rowguid) DO UPDATE
    SET operation = excluded.operation, row_data = excluded.row_data, client_date = excluded.client_date,
        rank = excluded.rank, stamp = excluded.stamp, ordinal = excluded.ordinal, client_id = excluded.client_id
    RETURNING 1
),
recorded AS (
    INSERT INTO sync.history
        (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date, row_data, old_stamp,
        old_ordinal)
    SELECT %(space_id)s, turn.stamp, 0, %(by)s, %(operator)s, %(tablename)s, %(rowguid)s, %(operation)s, turn.stamp,
        CASE WHEN %(full_history)s THEN %(row_data)s::text END, stored.stamp, stored.ordinal
    FROM turn
    LEFT JOIN stored ON true
    RETURNING 1
),
moved AS (
    UPDATE sync.spaces s SET clock = turn.stamp
    FROM turn
    WHERE s.id = %(space_id)s
    RETURNING 1
)
SELECT stamp FROM turn;

-- name: settle_overridden
UPDATE sync.overridden
SET settled = %(settled)s, settled_at = now()
WHERE space_id = %(space_id)s AND tablename = %(tablename)s AND rowguid = %(rowguid)s AND id = %(id)s
    AND settled IS DISTINCT FROM %(settled)s;

-- name: recorded_version
-- of the history
SELECT operation, row_data, client_date, client_id, stamp
FROM sync.history
WHERE space_id = %(space_id)s AND stamp = %(stamp)s AND ordinal = %(ordinal)s
    AND tablename = %(tablename)s AND rowguid = %(rowguid)s;

-- name: deleted_version
-- What a line of the history deleted, as far as it is kept: with the line, or where the history is full, with the line before. Where
-- nothing says when it was made, and by which device, it is dated as its delete.
SELECT coalesce(o.operation, 'U') AS operation, coalesce(h.old_data, o.row_data) AS row_data,
    coalesce(o.client_date, h.client_date) AS client_date, coalesce(o.client_id, h.client_id) AS client_id, h.stamp
FROM sync.history h
LEFT JOIN sync.history o ON o.space_id = h.space_id AND o.stamp = h.old_stamp AND o.ordinal = h.old_ordinal
WHERE h.space_id = %(space_id)s AND h.stamp = %(stamp)s AND h.ordinal = %(ordinal)s
    AND h.tablename = %(tablename)s AND h.rowguid = %(rowguid)s AND h.operation = 'D';

-- name: overridden_version
SELECT operation, row_data, client_date, client_id, stamp
FROM sync.overridden
WHERE space_id = %(space_id)s AND tablename = %(tablename)s AND rowguid = %(rowguid)s AND id = %(id)s;
