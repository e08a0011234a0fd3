-- name: lock_clients
-- Locks in the order in which a push takes them: clients, then spaces.
SELECT id FROM sync.clients WHERE user_id = ANY(%(users)s::uuid[]) ORDER BY id FOR UPDATE;

-- name: lock_users
-- No client joins them until the end of the transaction.
SELECT id FROM sync.users WHERE id = ANY(%(users)s::uuid[]) ORDER BY id FOR UPDATE;

-- name: lock_spaces
SELECT s.id FROM sync.spaces s
WHERE s.id IN (SELECT space_id FROM sync.users WHERE id = ANY(%(users)s::uuid[]))
ORDER BY s.id
FOR UPDATE;

-- name: states_of_users
-- untouched: those of whose devices none has pulled or pushed here yet: what was taken over is
-- not known to anybody and can be made anew. known: taken over before.
SELECT u.id AS user_id, a.clock = s.clock AND NOT EXISTS (
    SELECT 1 FROM sync.clients c JOIN sync.users owner ON owner.id = c.user_id
    WHERE owner.space_id = u.space_id AND (c.acknowledged IS NOT NULL OR c.sync_number > 0)
) AS untouched, a.lines >= 0 AS known
FROM sync.users u
JOIN sync.spaces s ON s.id = u.space_id
JOIN sync.adopted_users a ON a.user_id = u.id
WHERE u.id = ANY(%(users)s::uuid[]);

-- name: forget_rows
-- Those that the log can make anew. A row whose content the old server has given to another row since, or has lost with another
-- user's account, is here alone. Keys are compared as a whole, in either case: PostgreSQL would else go through all rows of the
-- space for each line.
WITH again AS (
    SELECT DISTINCT u.space_id, l.tablename, l.rowguid::text AS rowguid
    FROM public.sync_data l
    JOIN sync.users u ON u.id = l.userid
    JOIN public.data d ON d.rowguid = l.rowguid
    LEFT JOIN sync.adopted_contents shared ON shared.rowguid = l.rowguid
    WHERE l.userid = ANY(%(users)s::uuid[])
        AND (shared.rowguid IS NULL OR shared.user_id = l.userid AND shared.tablename = l.tablename)
)
DELETE FROM sync.rows
WHERE (space_id, tablename, rowguid) IN (
    SELECT space_id, tablename, rowguid FROM again
    UNION ALL
    SELECT space_id, tablename, upper(rowguid) FROM again
);

-- name: forget_history
DELETE FROM sync.history h
USING sync.users u
WHERE h.space_id = u.space_id AND u.id = ANY(%(users)s::uuid[]);

-- name: write_rows
-- The current version of each row of the given accounts, none of whose devices has synced here yet. Their cursors are dates of
-- the old server, and so are the stamps: a device goes on where it stopped. A row gets a later stamp, just above the highest
-- cursor that is in its way, when a device needs it although its cursor is past it:
--   a delete, which the old server sent to nobody;
--   a version that another device pushed while this one was between its pull and its push: the old server moved the cursor
--   past it. The log does not tell when a device pulled, but that was after the last edit that it then pushed, and at most two
--   minutes before the push: then the old server took a sync for dead. So each line opens a window, and so does the last
--   cursor, when nothing was pushed with it. A version whose push overlaps a window of another device may have been missed by that device.
WITH lines AS (
    SELECT l.id, l.userid, l.clientid, l.tablename, l.rowguid, upper(l.operation) AS operation, l.clientdate,
        greatest(l.serverdate, 1) AS serverdate
    FROM public.sync_data l
    WHERE l.userid = ANY(%(users)s::uuid[])
),
newest AS (
    SELECT DISTINCT ON (userid, tablename, rowguid) *
    FROM lines
    ORDER BY userid, tablename, rowguid, id DESC
),
-- what can be taken over; the operation that it comes to: a row without a member that is not null is gone (as in a push)
taken AS (
    SELECT n.id, n.userid, n.clientid, n.tablename, n.rowguid, n.clientdate, n.serverdate,
        CASE WHEN n.operation = 'D' OR jsonb_strip_nulls(d.json) = '{}' THEN 'D' ELSE n.operation END AS operation
    FROM newest n
    LEFT JOIN public.data d ON d.rowguid = n.rowguid
    LEFT JOIN sync.adopted_contents shared ON shared.rowguid = n.rowguid
    -- a CASE, of which PostgreSQL expects half of the rows: of the plain condition it expects one, and plans for it
    WHERE CASE
        WHEN n.operation = 'D' THEN true
        WHEN n.operation NOT IN ('I', 'U') OR d.json IS NULL OR jsonb_typeof(d.json) <> 'object' THEN false
        ELSE shared.rowguid IS NULL OR shared.user_id = n.userid AND shared.tablename = n.tablename
    END
),
-- cursor: the highest that the device may have; pushed: the last line before the cursor that it was given
devices AS (
    SELECT c.userid, c.clientid, coalesce(c.lastsync, 0) AS given,
        greatest(coalesce(c.lastsync, 0), coalesce(max(own.serverdate), 0)) AS cursor,
        coalesce(max(CASE WHEN own.serverdate <= c.lastsync THEN own.serverdate END), 0) AS pushed,
        coalesce(bool_or(own.clientdate > own.serverdate), false) AS ahead
    FROM public.user_clients c
    LEFT JOIN lines own ON own.clientid = c.clientid AND own.userid = c.userid
    WHERE c.userid = ANY(%(users)s::uuid[])
    GROUP BY c.userid, c.clientid, c.lastsync
),
several AS (
    SELECT userid
    FROM (SELECT userid, clientid FROM lines UNION SELECT userid, clientid FROM devices) writers
    GROUP BY userid
    HAVING count(*) > 1
),
-- the lines of one push follow each other within milliseconds; none is visible to others after the last one
pushes AS (
    SELECT id, userid, clientid, serverdate,
        max(serverdate) OVER (PARTITION BY userid, clientid, push) AS push_end,
        max(clientdate) OVER (PARTITION BY userid, clientid, push) AS last_edit
    FROM (
        SELECT *, (sum(CASE WHEN serverdate - line_before > %(pause)s THEN 1 ELSE 0 END)
            OVER (PARTITION BY userid, clientid ORDER BY id))::bigint AS push
        FROM (
            SELECT *, lag(serverdate) OVER (PARTITION BY userid, clientid ORDER BY id) AS line_before
            FROM lines
            WHERE userid IN (SELECT userid FROM several)
        ) following
    ) numbered
),
windows AS (
    -- the dates of a device whose clock has been ahead of the server's say nothing
    SELECT p.clientid, p.serverdate + %(slack)s AS closed, CASE
        WHEN d.ahead THEN p.serverdate - %(longest)s
        ELSE greatest(p.last_edit, p.serverdate - %(longest)s)
    END AS opened
    FROM pushes p
    JOIN devices d ON d.clientid = p.clientid
    UNION ALL
    SELECT clientid, given, greatest(pushed, given - %(longest)s)
    FROM devices
    WHERE given > pushed + %(slack)s AND userid IN (SELECT userid FROM several)
),
versions AS (
    SELECT d.clientid AS device, t.id, t.serverdate, p.push_end
    FROM taken t
    JOIN pushes p ON p.id = t.id
    JOIN devices d ON d.userid = t.userid AND d.clientid <> t.clientid
    WHERE t.operation <> 'D' AND t.serverdate <= d.cursor
),
-- walks each device's windows and versions in the order of time: a version overlaps a window if one that was opened before the
-- version's push had ended is closed after the version was written
walk AS (
    SELECT device, id, serverdate, max(closed) OVER (
        PARTITION BY device ORDER BY at, is_version ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS closed
    FROM (
        SELECT clientid AS device, NULL::bigint AS id, NULL::bigint AS serverdate, opened AS at, closed, 0 AS is_version
        FROM windows
        UNION ALL
        SELECT device, id, serverdate, push_end, NULL::bigint, 1 FROM versions
    ) events
),
missed AS (
    SELECT needed.id, max(d.cursor) AS cursor
    FROM (
        SELECT id, device FROM walk WHERE id IS NOT NULL AND (closed >= serverdate OR %(everything)s)
        UNION ALL
        SELECT t.id, d.clientid
        FROM taken t
        JOIN devices d ON d.userid = t.userid AND d.clientid <> t.clientid
        WHERE t.operation = 'D'
    ) needed
    JOIN devices d ON d.clientid = needed.device
    GROUP BY needed.id
),
placed AS (
    SELECT t.*, greatest(t.serverdate, coalesce(m.cursor, 0) + 1) AS stamp, coalesce(m.cursor, 0) >= t.serverdate AS again
    FROM taken t
    LEFT JOIN missed m ON m.id = t.id
),
-- behind what forget_rows has left at the same stamp: a pull goes on behind a stamp and ordinal
ordered AS (
    SELECT p.*, u.space_id,
        coalesce(kept.ordinal, 0) + row_number() OVER (PARTITION BY p.userid, p.stamp ORDER BY p.id) AS ordinal
    FROM placed p
    JOIN sync.users u ON u.id = p.userid
    LEFT JOIN (
        SELECT r.space_id, r.stamp, max(r.ordinal) AS ordinal
        FROM sync.rows r
        JOIN sync.users owner ON owner.space_id = r.space_id
        WHERE owner.id = ANY(%(users)s::uuid[])
        GROUP BY r.space_id, r.stamp
    ) kept ON kept.space_id = u.space_id AND kept.stamp = p.stamp
),
-- the old server knew guids without their case; the content often has the key as the device writes it
keyed AS (
    SELECT t.*, d.json::text AS content, CASE
        WHEN d.json IS NULL THEN coalesce((
            SELECT min(known.rowguid) FROM sync.rows known
            WHERE known.space_id = t.space_id AND known.tablename = t.tablename
                AND known.rowguid IN (t.rowguid::text, upper(t.rowguid::text))
        ), t.rowguid::text)
        WHEN strpos(d.json::text, '"' || t.rowguid::text || '"') > 0 THEN t.rowguid::text
        WHEN strpos(d.json::text, '"' || upper(t.rowguid::text) || '"') > 0 THEN upper(t.rowguid::text)
        WHEN jsonb_typeof(d.json) <> 'object' THEN t.rowguid::text
        ELSE coalesce(
            (SELECT min(member.value) FROM jsonb_each_text(d.json) AS member WHERE lower(member.value) = t.rowguid::text),
            t.rowguid::text
        )
    END AS wire_guid
    FROM ordered t
    LEFT JOIN public.data d ON d.rowguid = t.rowguid
),
stored AS (
    INSERT INTO sync.rows
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT k.space_id, k.tablename, k.wire_guid, k.operation, CASE WHEN k.operation <> 'D' THEN k.content END,
        k.clientdate, least(k.clientdate, k.serverdate), k.stamp, k.ordinal, k.clientid
    FROM keyed k
    -- with one that forget_rows has left
    ON CONFLICT (space_id, tablename, rowguid) DO UPDATE
    SET operation = excluded.operation, row_data = excluded.row_data, client_date = excluded.client_date,
        rank = excluded.rank, stamp = excluded.stamp, ordinal = excluded.ordinal, client_id = excluded.client_id
    RETURNING operation
),
-- a tombstone may be pruned some day; what the history says of it brings it back to a device that needs it
recorded AS (
    INSERT INTO sync.history (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date)
    SELECT k.space_id, k.stamp, k.ordinal, k.userid, k.clientid, k.tablename, k.wire_guid, 'D', k.clientdate
    FROM keyed k
    WHERE k.operation = 'D'
    ON CONFLICT (space_id, stamp, ordinal) DO NOTHING
    RETURNING 1
),
moved AS (
    UPDATE sync.spaces s
    SET clock = greatest(s.clock, reached.clock)
    FROM (
        SELECT u.space_id, max(latest.clock) AS clock
        FROM (
            SELECT userid, max(stamp) AS clock FROM placed GROUP BY userid
            UNION ALL
            SELECT userid, max(cursor) FROM devices GROUP BY userid
        ) latest
        JOIN sync.users u ON u.id = latest.userid
        GROUP BY u.space_id
    ) reached
    WHERE reached.space_id = s.id AND reached.clock > s.clock
    RETURNING 1
)
SELECT (SELECT count(*) FROM stored WHERE operation <> 'D') AS rows,
    (SELECT count(*) FROM stored WHERE operation = 'D') AS deletes,
    (SELECT count(*) FROM placed WHERE again AND operation <> 'D') AS sent_again,
    (SELECT count(*) FROM recorded) + (SELECT count(*) FROM moved) AS others;

-- name: merge_lines
-- What the old server has written of accounts whose devices also sync here: each row's newest line, if it is new, as a push of
-- its client. It follows the line that the stored version was taken from, else the two are conflicting edits (G4).
WITH fresh AS (
    SELECT l.id
    FROM public.sync_data l
    JOIN sync.adopted_users a ON a.user_id = l.userid
    WHERE l.userid = ANY(%(users)s::uuid[]) AND l.id > a.settled_line
        AND NOT EXISTS (SELECT 1 FROM sync.adopted_lines known WHERE known.user_id = l.userid AND known.line = l.id)
),
changed AS (
    SELECT DISTINCT l.userid, l.tablename, l.rowguid FROM public.sync_data l WHERE l.id IN (SELECT id FROM fresh)
),
lines AS (
    SELECT l.id, l.userid, l.clientid, l.tablename, l.rowguid, upper(l.operation) AS operation, l.clientdate,
        greatest(l.serverdate, 1) AS serverdate
    FROM public.sync_data l
    JOIN changed ON changed.userid = l.userid AND changed.tablename = l.tablename AND changed.rowguid = l.rowguid
    WHERE l.userid = ANY(%(users)s::uuid[])
),
newest AS (
    SELECT DISTINCT ON (userid, tablename, rowguid) *
    FROM lines
    WHERE id IN (SELECT id FROM fresh)
    ORDER BY userid, tablename, rowguid, id DESC
),
incoming AS (
    SELECT n.id, n.userid, u.space_id, n.clientid, n.tablename, n.clientdate, least(n.clientdate, n.serverdate) AS rank,
        CASE WHEN n.operation = 'D' OR jsonb_strip_nulls(d.json) = '{}' THEN 'D' ELSE n.operation END AS operation,
        CASE WHEN n.operation <> 'D' AND jsonb_strip_nulls(d.json) <> '{}' THEN d.json::text END AS row_data,
        n.rowguid, CASE
            WHEN d.json IS NULL THEN coalesce((
                SELECT min(known.rowguid) FROM sync.rows known
                WHERE known.space_id = u.space_id AND known.tablename = n.tablename
                    AND known.rowguid IN (n.rowguid::text, upper(n.rowguid::text))
            ), n.rowguid::text)
            WHEN strpos(d.json::text, '"' || n.rowguid::text || '"') > 0 THEN n.rowguid::text
            WHEN strpos(d.json::text, '"' || upper(n.rowguid::text) || '"') > 0 THEN upper(n.rowguid::text)
            WHEN jsonb_typeof(d.json) <> 'object' THEN n.rowguid::text
            ELSE coalesce(
                (SELECT min(member.value) FROM jsonb_each_text(d.json) AS member WHERE lower(member.value) = n.rowguid::text),
                n.rowguid::text
            )
        END AS wire_guid
    FROM newest n
    JOIN sync.users u ON u.id = n.userid
    LEFT JOIN public.data d ON d.rowguid = n.rowguid
    LEFT JOIN sync.adopted_contents shared ON shared.rowguid = n.rowguid
    WHERE n.operation = 'D' OR n.operation IN ('I', 'U') AND jsonb_typeof(d.json) = 'object'
        AND (shared.rowguid IS NULL OR shared.user_id = n.userid AND shared.tablename = n.tablename)
),
judged AS (
    SELECT i.*, r.operation AS stored_operation, r.row_data AS stored_data, r.client_date AS stored_date,
        r.client_id AS stored_client, r.rank AS stored_rank, CASE
            WHEN r.rowguid IS NULL THEN 'new'
            WHEN EXISTS (
                SELECT 1 FROM lines l
                WHERE l.userid = i.userid AND l.tablename = i.tablename AND l.rowguid = i.rowguid AND l.id < i.id
                    AND l.clientid = r.client_id AND l.clientdate = r.client_date
            ) THEN 'seen'
            WHEN i.operation = 'D' AND r.operation = 'D' THEN 'same'
            WHEN r.client_id = i.clientid AND r.client_date = i.clientdate THEN 'same'
            WHEN i.rank > r.rank THEN 'won'
            ELSE 'lost'
        END AS verdict
    FROM incoming i
    LEFT JOIN sync.rows r ON r.space_id = i.space_id AND r.tablename = i.tablename AND r.rowguid = i.wire_guid
),
winners AS (
    SELECT j.*, greatest(%(now)s, s.clock + 1) AS stamp,
        row_number() OVER (PARTITION BY j.space_id ORDER BY j.id) AS ordinal
    FROM judged j
    JOIN sync.spaces s ON s.id = j.space_id
    WHERE j.verdict IN ('new', 'seen', 'won')
),
stored AS (
    INSERT INTO sync.rows
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT space_id, tablename, wire_guid, operation, row_data, clientdate, greatest(rank, coalesce(stored_rank, rank - 1) + 1),
        stamp, ordinal, clientid
    FROM winners
    ON CONFLICT (space_id, tablename, rowguid) DO UPDATE
    SET operation = excluded.operation, row_data = excluded.row_data, client_date = excluded.client_date,
        rank = excluded.rank, stamp = excluded.stamp, ordinal = excluded.ordinal, client_id = excluded.client_id
    RETURNING operation
),
recorded AS (
    INSERT INTO sync.history
        (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date, row_data, old_data)
    SELECT space_id, stamp, ordinal, userid, clientid, tablename, wire_guid, operation, clientdate,
        CASE WHEN %(full_history)s THEN row_data END,
        -- as in push_changes; where the history is full, too, for it does not begin with what was taken over
        CASE WHEN operation = 'D' AND verdict = 'seen' AND %(keep_deleted)s THEN stored_data END
    FROM winners
    RETURNING 1
),
kept AS (
    INSERT INTO sync.overridden (space_id, tablename, rowguid, operation, row_data, client_date, client_id, stamp)
    SELECT j.space_id, j.tablename, j.wire_guid, j.stored_operation, j.stored_data, j.stored_date, j.stored_client,
        greatest(%(now)s, s.clock + 1)
    FROM judged j JOIN sync.spaces s ON s.id = j.space_id
    WHERE j.verdict = 'won'
    UNION ALL
    SELECT j.space_id, j.tablename, j.wire_guid, j.operation, j.row_data, j.clientdate, j.clientid,
        greatest(%(now)s, s.clock + 1)
    FROM judged j JOIN sync.spaces s ON s.id = j.space_id
    WHERE j.verdict = 'lost'
    RETURNING 1
),
moved AS (
    UPDATE sync.spaces s SET clock = reached.stamp
    FROM (SELECT space_id, max(stamp) AS stamp FROM winners GROUP BY space_id) reached
    WHERE reached.space_id = s.id
    RETURNING 1
)
SELECT (SELECT count(*) FROM stored WHERE operation <> 'D') AS rows,
    (SELECT count(*) FROM stored WHERE operation = 'D') AS deletes,
    (SELECT count(*) FROM kept) AS overridden,
    (SELECT count(*) FROM recorded) + (SELECT count(*) FROM moved) AS others;

-- name: lift_rows
-- A client that has gone on with the old server has a cursor of its own time, past versions that only this server knew: they
-- get a stamp above it. Runs before note_clients, which notes the new cursor.
WITH ahead AS (
    SELECT u.space_id, c.clientid, coalesce(known.last_sync, 0) AS before, c.lastsync AS cursor
    FROM public.user_clients c
    JOIN sync.users u ON u.id = c.userid
    LEFT JOIN sync.adopted_clients known ON known.client_id = c.clientid
    WHERE c.userid = ANY(%(users)s::uuid[]) AND c.lastsync > coalesce(known.last_sync, 0)
),
lifted AS (
    SELECT r.space_id, r.tablename, r.rowguid, r.stamp AS old_stamp, r.ordinal AS old_ordinal,
        row_number() OVER (PARTITION BY r.space_id ORDER BY r.stamp, r.ordinal) AS ordinal
    FROM sync.rows r
    WHERE EXISTS (
        SELECT 1 FROM ahead a
        WHERE a.space_id = r.space_id AND r.stamp > a.before AND r.stamp <= a.cursor AND r.client_id <> a.clientid
    )
),
reached AS (
    SELECT s.id AS space_id, greatest(%(now)s, s.clock + 1, max(a.cursor) + 1) AS stamp
    FROM sync.spaces s
    JOIN ahead a ON a.space_id = s.id
    GROUP BY s.id, s.clock
),
moved AS (
    UPDATE sync.spaces s SET clock = reached.stamp FROM reached WHERE reached.space_id = s.id RETURNING 1
),
-- the history, from where a pruned tombstone comes back, knows it by its new place, too
recorded AS (
    INSERT INTO sync.history
        (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date, old_stamp, old_ordinal, old_data)
    SELECT h.space_id, reached.stamp, lifted.ordinal, h.user_id, h.client_id, h.tablename, h.rowguid, 'D', h.client_date,
        h.old_stamp, h.old_ordinal, h.old_data
    FROM lifted
    JOIN reached ON reached.space_id = lifted.space_id
    JOIN sync.history h
        ON h.space_id = lifted.space_id AND h.stamp = lifted.old_stamp AND h.ordinal = lifted.old_ordinal
    WHERE h.operation = 'D'
    RETURNING 1
),
updated AS (
    UPDATE sync.rows r
    SET stamp = reached.stamp, ordinal = lifted.ordinal
    FROM lifted, reached
    WHERE reached.space_id = lifted.space_id AND r.space_id = lifted.space_id AND r.tablename = lifted.tablename
        AND r.rowguid = lifted.rowguid
    RETURNING 1
)
SELECT (SELECT count(*) FROM updated) AS sent_again,
    (SELECT count(*) FROM moved) + (SELECT count(*) FROM recorded) AS others;

-- name: settle_lines
-- An id is handed out some time before its line is visible, so a lower one may still come while lines are young.
UPDATE sync.adopted_users a
SET settled_line = greatest(a.settled_line, coalesce(log.settled, 0)), lines = coalesce(log.lines, 0),
    last_line = coalesce(log.last_line, 0), clients = coalesce(devices.clients, 0), cursors = coalesce(devices.cursors, 0),
    clock = s.clock
FROM sync.users u
JOIN sync.spaces s ON s.id = u.space_id
LEFT JOIN (
    SELECT userid, count(*) AS lines, max(id) AS last_line, max(CASE WHEN serverdate <= %(settled)s THEN id END) AS settled
    FROM public.sync_data
    WHERE userid = ANY(%(users)s::uuid[])
    GROUP BY userid
) log ON log.userid = u.id
LEFT JOIN (
    SELECT userid, count(*) AS clients, sum(coalesce(lastsync, 0))::numeric AS cursors
    FROM public.user_clients
    WHERE userid = ANY(%(users)s::uuid[])
    GROUP BY userid
) devices ON devices.userid = u.id
WHERE u.id = a.user_id AND a.user_id = ANY(%(users)s::uuid[]);

-- name: forget_lines
DELETE FROM sync.adopted_lines known
USING sync.adopted_users a
WHERE a.user_id = known.user_id AND a.user_id = ANY(%(users)s::uuid[]) AND known.line <= a.settled_line;

-- name: note_lines
INSERT INTO sync.adopted_lines (user_id, line)
SELECT l.userid, l.id
FROM public.sync_data l
JOIN sync.adopted_users a ON a.user_id = l.userid
WHERE l.userid = ANY(%(users)s::uuid[]) AND l.id > a.settled_line
ON CONFLICT DO NOTHING;
