-- name: client_of_pull
-- The token's claims are checked here, so that a revoked token ends at once. The row's lock makes the calls of one client
-- run one after the other. The space is only read: a clock that a push is just moving on is one that this pull need not see.
SELECT u.space_id, s.clock, s.pruned, c.first_stamp, c.sync_number, c.sync_to, c.sync_digest, c.sync_token,
    (extract(epoch FROM now()) * 1000)::bigint - c.sync_started AS sync_age
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
JOIN sync.spaces s ON s.id = u.space_id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active
FOR UPDATE OF c;

-- name: begin_sync
-- acknowledged: what the device has heard of, which decides what may be pruned. last_error is of the latest one.
UPDATE sync.clients
SET sync_number = sync_number + 1, sync_from = %(from_)s, sync_to = %(to)s,
    sync_started = (extract(epoch FROM now()) * 1000)::bigint, sync_digest = %(digest)s, sync_token = %(token_id)s,
    first_stamp = coalesce(first_stamp, %(to)s),
    acknowledged = least(%(from_)s::bigint, %(to)s::bigint), last_error = NULL
WHERE id = %(client_id)s;

-- name: bring_back_tombstones
-- For a device that was restored from a backup older than what was pruned: the history still knows what was deleted. A row
-- without a version has had a tombstone last, so its latest delete is that one. Its rank is close to what it was.
INSERT INTO sync.rows (space_id, tablename, rowguid, operation, client_date, rank, stamp, ordinal, client_id)
SELECT DISTINCT ON (h.tablename, h.rowguid) h.space_id, h.tablename, h.rowguid, 'D', h.client_date,
    least(h.client_date, h.stamp), h.stamp, h.ordinal, h.client_id
FROM sync.history h
WHERE h.space_id = %(space_id)s AND h.stamp > %(after)s AND h.stamp <= %(pruned)s AND h.operation = 'D'
    AND NOT EXISTS (
        SELECT 1 FROM sync.rows r
        WHERE r.space_id = h.space_id AND r.tablename = h.tablename AND r.rowguid = h.rowguid
    )
ORDER BY h.tablename, h.rowguid, h.stamp DESC
ON CONFLICT (space_id, tablename, rowguid) DO NOTHING;

-- name: plan_by_index
-- For pages of a long pull, until the end of the transaction: walk the index rows_by_stamp. Where PostgreSQL expects far fewer
-- rows in the space than there are (its statistics are of other spaces, or none yet), it would rather fetch and sort all that
-- is left of the space for every page.
SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true);

-- name: page_of_pull
-- Versions in the order in which they became durable; wanted says whether the device must apply one. It must not apply
--   a row pending on the device whose stored version is its own (it will push it again), or older than the device's edit
--   (which will win);
--   a tombstone from before the device's first pull, unless the row is pending on it (G6).
-- A page ends at a number of versions or bytes, whichever comes first, and has at least one version; the length of a text is
-- known without reading it.
SELECT operation, rowguid, tablename, client_date AS clientdate, stamp AS serverdate, client_id::text AS clientid,
    CASE WHEN wanted THEN row_data END AS row_data, ordinal, wanted, bytes_so_far
FROM (
    SELECT judged.*, (sum(bytes) OVER (ORDER BY stamp, ordinal))::bigint AS bytes_so_far
    FROM (
        SELECT r.*,
            CASE
                WHEN pending.rowguid IS NOT NULL
                    THEN r.client_id <> %(client_id)s AND pending.client_date <= r.rank
                ELSE r.operation <> 'D' OR r.stamp > %(first_stamp)s
            END AS wanted,
            coalesce(octet_length(r.row_data), 0) AS bytes
        FROM (
            SELECT *
            FROM sync.rows
            WHERE space_id = %(space_id)s AND stamp <= %(to)s
                AND (stamp, ordinal) > (%(after_stamp)s, %(after_ordinal)s)
            ORDER BY stamp, ordinal
            LIMIT %(rows)s
        ) r
        LEFT JOIN unnest(%(tablenames)b::text[], %(rowguids)b::text[], %(client_dates)b::bigint[])
            AS pending (tablename, rowguid, client_date)
            ON pending.tablename = r.tablename AND pending.rowguid = r.rowguid
    ) judged
) page
WHERE bytes_so_far - bytes < %(bytes)s
ORDER BY stamp, ordinal;

-- name: client_of_push
SELECT u.space_id, c.sync_number, c.sync_from, c.sync_to, c.sync_token, c.push_digest, c.push_answer
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active
FOR UPDATE OF c;

-- name: lock_space
-- Pushes of one space run one after the other, so stamps become visible in the order in which they are handed out (G2).
-- now is the database's time, the same for every server: ranks, which are bounded by it, must compare (G4).
SELECT clock, (extract(epoch FROM now()) * 1000)::bigint AS now FROM sync.spaces WHERE id = %(space_id)s FOR UPDATE;

-- name: store_changes
-- The rule of a push, for all its changes at once. verdict:
--   new    no version is stored
--   same   the client's own version, pushed again (G5)
--   seen   the client's own, or one that it had seen when it pulled: the edit follows it
--   won    unseen on both sides, and the later date wins (G4); the stored version is kept in overridden
--   lost   unseen on both sides; the incoming version is kept in overridden, unless it says the same as the stored one
-- Later versions always rank higher, whatever the devices' clocks say, so what lost once never wins later.
WITH incoming AS (
    SELECT tablename, rowguid, operation, client_date, row_data, ordinal
    FROM unnest(%(tablenames)b::text[], %(rowguids)b::text[], %(operations)b::text[], %(client_dates)b::bigint[],
        %(row_datas)b::text[]) WITH ORDINALITY
        AS change (tablename, rowguid, operation, client_date, row_data, ordinal)
),
judged AS (
    SELECT i.*, r.operation AS stored_operation, r.row_data AS stored_data, r.client_date AS stored_date,
        r.client_id AS stored_client, r.rank AS stored_rank,
        CASE
            WHEN r.rowguid IS NULL THEN 'new'
            WHEN r.client_id = %(client_id)s THEN
                CASE
                    WHEN r.operation = i.operation AND r.client_date = i.client_date
                        AND r.row_data IS NOT DISTINCT FROM i.row_data THEN 'same'
                    ELSE 'seen'
                END
            WHEN r.stamp <= %(from_)s THEN 'seen'
            WHEN i.client_date > r.rank THEN 'won'
            ELSE 'lost'
        END AS verdict
    FROM incoming i
    LEFT JOIN sync.rows r
        ON r.space_id = %(space_id)s AND r.tablename = i.tablename AND r.rowguid = i.rowguid
),
stored AS (
    INSERT INTO sync.rows
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT %(space_id)s, tablename, rowguid, operation, row_data, client_date,
        greatest(least(client_date, %(now)s), stored_rank + 1), %(stamp)s, ordinal, %(client_id)s
    FROM judged
    WHERE verdict IN ('new', 'seen', 'won')
    ON CONFLICT (space_id, tablename, rowguid) DO UPDATE
    SET operation = excluded.operation, row_data = excluded.row_data, client_date = excluded.client_date,
        rank = excluded.rank, stamp = excluded.stamp, ordinal = excluded.ordinal, client_id = excluded.client_id
    RETURNING 1
),
recorded AS (
    INSERT INTO sync.history
        (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date, row_data)
    SELECT %(space_id)s, %(stamp)s, ordinal, %(user_id)s, %(client_id)s, tablename, rowguid, operation, client_date,
        CASE WHEN %(full_history)s THEN row_data END
    FROM judged
    WHERE verdict IN ('new', 'seen', 'won')
    RETURNING 1
),
losers AS (
    SELECT tablename, rowguid, stored_operation AS operation, stored_data AS row_data, stored_date AS client_date,
        stored_client AS client_id
    FROM judged
    WHERE verdict = 'won'
    UNION ALL
    SELECT tablename, rowguid, operation, row_data, client_date, %(client_id)s
    FROM judged
    WHERE verdict = 'lost' AND NOT (
        (operation = 'D') = (stored_operation = 'D') AND row_data IS NOT DISTINCT FROM stored_data
    )
),
kept AS (
    INSERT INTO sync.overridden (space_id, tablename, rowguid, operation, row_data, client_date, client_id, stamp)
    SELECT %(space_id)s, tablename, rowguid, operation, row_data, client_date, client_id, %(stamp)s
    FROM losers
    -- a part that is sent again is recorded once (G5)
    WHERE NOT EXISTS (
        SELECT 1
        FROM sync.overridden o
        WHERE o.space_id = %(space_id)s AND o.tablename = losers.tablename AND o.rowguid = losers.rowguid
            AND o.client_id = losers.client_id AND o.operation = losers.operation
            AND o.client_date = losers.client_date AND o.row_data IS NOT DISTINCT FROM losers.row_data
    )
    RETURNING 1
),
moved AS (
    UPDATE sync.spaces SET clock = %(stamp)s
    WHERE id = %(space_id)s AND EXISTS (SELECT 1 FROM judged WHERE verdict IN ('new', 'seen', 'won'))
    RETURNING 1
)
SELECT (SELECT count(*) FROM stored) AS stored, (SELECT count(*) FROM kept) AS overridden;

-- name: cursor_after_push
-- The cursor that the device gets: its own changes are behind it (G7), unless another client's came in during the sync, which
-- the device has not heard of (G2).
SELECT CASE
    WHEN EXISTS (
        SELECT 1 FROM sync.rows r
        WHERE r.space_id = s.id AND r.stamp > %(to)s AND r.client_id <> %(client_id)s
    ) THEN %(to)s
    ELSE s.clock
END AS cursor
FROM sync.spaces s
WHERE s.id = %(space_id)s;

-- name: finish_sync
UPDATE sync.clients
SET sync_from = NULL, sync_to = NULL, sync_started = NULL, sync_digest = NULL, sync_token = NULL,
    push_digest = %(digest)s, push_answer = %(cursor)s,
    last_sync = (extract(epoch FROM now()) * 1000)::bigint
WHERE id = %(client_id)s;

-- name: keep_aside
-- Changes that cannot be stored as rows, each once. Where the user's share is used up the line is made all the same, without
-- the change itself: the device has the row, and the operator hears of it.
WITH incoming AS (
    SELECT id, reason, detail, most, change, octet_length(change) AS bytes,
        (sum(octet_length(change)) OVER (ORDER BY ordinal))::bigint AS bytes_so_far
    FROM unnest(%(ids)b::uuid[], %(reasons)b::text[], %(details)b::text[], %(mosts)b::bigint[], %(texts)b::text[])
        WITH ORDINALITY AS change (id, reason, detail, most, change, ordinal)
),
kept AS (
    INSERT INTO sync.kept_aside (id, user_id, client_id, reason, detail, most, bytes, change)
    SELECT id, %(user_id)s, %(client_id)s, reason, detail, most, bytes,
        CASE
            WHEN bytes_so_far + (
                SELECT coalesce(sum(k.bytes), 0)::bigint
                FROM sync.kept_aside k
                WHERE k.user_id = %(user_id)s AND k.change IS NOT NULL
            ) <= %(share)s::bigint THEN change
        END
    FROM incoming
    ON CONFLICT (id) DO NOTHING
    RETURNING change
)
SELECT count(*) AS recorded, count(*) - count(change) AS without_data FROM kept;

-- name: note_error
UPDATE sync.clients SET last_error = %(error)s WHERE id = %(client_id)s;

-- name: kept_aside_list
SELECT k.id, u.email, k.client_id, k.received_at, k.reason, k.detail, k.most, k.bytes, k.change IS NOT NULL AS complete
FROM sync.kept_aside k
JOIN sync.users u ON u.id = k.user_id
ORDER BY k.received_at, k.id;

-- name: kept_aside_change
SELECT change FROM sync.kept_aside WHERE id = %(id)s;

-- name: count_syncs
-- Those under way of other clients; one without a sign of life for two minutes is abandoned, and so is one of the future: the
-- database's clock was wrong then.
SELECT count(*) FROM sync.clients
WHERE sync_started > (extract(epoch FROM now()) * 1000)::bigint - %(takeover)s
    AND sync_started < (extract(epoch FROM now()) * 1000)::bigint + %(takeover)s AND id <> %(client_id)s;

-- name: cancel_sync
-- A call that was held up and belongs to an earlier sync cancels nothing, nor does one whose token has been revoked (G8).
UPDATE sync.clients c
SET sync_from = NULL, sync_to = NULL, sync_started = NULL, sync_digest = NULL, sync_token = NULL
FROM sync.users u
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.id = c.user_id AND u.token_epoch = %(epoch)s AND u.active
    AND c.sync_started IS NOT NULL AND (c.sync_token = %(token_id)s OR c.sync_number = %(sync_number)s);

-- name: client_is_known
SELECT 1
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active;
