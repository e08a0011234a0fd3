-- name: number_syncs
-- The number of a client's latest sync, for its tokens. Where none is known, as after a crash of the database, that is a new one.
INSERT INTO sync.syncs AS known (client_id, first_number, sync_number)
SELECT id, %(number)s::bigint, %(number)s::bigint
FROM sync.clients
WHERE id = %(client_id)s AND session = %(session)s
ON CONFLICT (client_id) DO UPDATE SET sync_number = known.sync_number
RETURNING sync_number;

-- name: client_of_pull
-- The token's claims are checked here, so that a revoked token ends at once. The rows' locks make the calls of one client
-- run one after the other. The space is only read: a clock that a push is just moving on is one that this pull need not see.
SELECT u.space_id, s.clock, s.pruned, s.restored, c.first_stamp, c.acknowledged,
    y.first_number, y.sync_number, y.sync_to, y.sync_digest, y.sync_token,
    (extract(epoch FROM now()) * 1000)::bigint - y.sync_started AS sync_age
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
JOIN sync.spaces s ON s.id = u.space_id
JOIN sync.syncs y ON y.client_id = c.id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active
FOR UPDATE OF c, y;

-- name: begin_sync
UPDATE sync.syncs
SET sync_number = sync_number + 1, sync_from = %(from_)s, sync_to = %(to)s,
    sync_started = (extract(epoch FROM now()) * 1000)::bigint, sync_digest = %(digest)s, sync_token = %(token_id)s,
    pushed_to = NULL
WHERE client_id = %(client_id)s;

-- name: note_pull
-- acknowledged: what the device has heard of, which decides what may be pruned. last_error is of the latest sync only.
UPDATE sync.clients
SET first_stamp = %(first_stamp)s, acknowledged = %(acknowledged)s, last_error = NULL
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
-- is left of the space for every page, and compare each row with each pending one.
SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_nestloop', 'off', true);

-- name: page_of_pull
-- Versions in the order in which they became durable, as the lines of a pull's answer. Passed over is what the device must not
-- apply:
--   a row pending on the device whose stored version is its own (it will push it again), or older than the device's edit
--   (which will win), or seen by the device already, when all is sent anew after a restore. But its own version is sent anew
--   that it is to push again without a change: there may have been one that won since, which is lost now;
--   a tombstone from before the device's first pull, unless the row is pending on it (G6).
-- A page ends at a number of versions or bytes, whichever comes first, and has at least one version; the length of a text is
-- known without reading it. Where it ends so, stamp and ordinal are its last version's; the last page has no ordinal.
WITH bounds AS (
    SELECT %(space_id)s::uuid AS space_id, %(to)s::bigint AS "to", %(first_stamp)s::bigint AS first_stamp
),
page AS (
    SELECT *
    FROM (
        SELECT judged.*, (sum(bytes) OVER so_far)::bigint AS bytes_so_far, row_number() OVER so_far AS number
        FROM (
            SELECT r.*,
                CASE
                    WHEN pending.rowguid IS NOT NULL
                        THEN r.client_id <> %(client_id)s AND pending.client_date <= r.rank AND r.stamp > %(from_)s
                            OR %(anew)s AND r.client_id = %(client_id)s AND pending.client_date = r.client_date
                    ELSE r.operation <> 'D' OR r.stamp > (SELECT first_stamp FROM bounds)
                END AS wanted,
                coalesce(octet_length(r.row_data), 0) AS bytes
            FROM (
                SELECT *
                FROM (
                    -- The most that a page may have as a number, and where it begins in selects of their own, of which PostgreSQL
                    -- sees no value: else it plans anew for each pull of a big space, which takes longer than the page.
                    SELECT *
                    FROM sync.rows
                    WHERE space_id = (SELECT space_id FROM bounds) AND stamp <= (SELECT "to" FROM bounds)
                        AND (stamp, ordinal) > ((SELECT %(after_stamp)s::bigint), (SELECT %(after_ordinal)s::bigint))
                    ORDER BY stamp, ordinal
                    LIMIT 1000
                ) following
                ORDER BY stamp, ordinal
                LIMIT %(rows)s
            ) r
            LEFT JOIN unnest(%(tablenames)b::text[], %(rowguids)b::text[], %(client_dates)b::bigint[])
                AS pending (tablename, rowguid, client_date)
                ON pending.tablename = r.tablename AND pending.rowguid = r.rowguid
        ) judged
        WINDOW so_far AS (ORDER BY stamp, ordinal ROWS UNBOUNDED PRECEDING)
    ) sized
    WHERE bytes_so_far - bytes < %(bytes)s
)
SELECT (SELECT space_id FROM bounds) AS space_id, (SELECT "to" FROM bounds) AS "to",
    (SELECT first_stamp FROM bounds) AS first_stamp,
    convert_to(
        string_agg(
            -- no FILTER: with one PostgreSQL sorts the lines, which come in their order
            CASE WHEN wanted THEN (
                '{"operation":"' || operation || '","rowguid":' || to_json(rowguid)::text
                || ',"tablename":' || to_json(tablename)::text || ',"clientdate":' || client_date::text
                || ',"serverdate":' || stamp::text || ',"clientid":"' || client_id::text || '","rowData":'
            ) || coalesce(row_data, 'null') || '}' END,
            ',' ORDER BY stamp, ordinal
        ),
        'UTF8'
    ) AS lines,
    count(*) FILTER (WHERE wanted) AS delivered, max(bytes) AS largest, max(stamp) AS stamp,
    max(CASE WHEN bytes_so_far >= %(bytes)s OR number = %(rows)s THEN ordinal END) AS ordinal
FROM page;

-- name: page_of_small_rows
-- As page_of_pull, in half the time, for a device that has nothing pending, where no version has more than `small` bytes: the page is
-- then as many versions as it may have, so that PostgreSQL need neither add their bytes up nor hold and sort them. Where one
-- has more, whose line is left out, this is no page, as `largest` tells.
WITH bounds AS (
    SELECT %(space_id)s::uuid AS space_id, %(to)s::bigint AS "to", %(first_stamp)s::bigint AS first_stamp
)
SELECT (SELECT space_id FROM bounds) AS space_id, (SELECT "to" FROM bounds) AS "to",
    (SELECT first_stamp FROM bounds) AS first_stamp,
    convert_to(
        string_agg(
            CASE WHEN octet_length(row_data) > %(small)s THEN NULL WHEN wanted THEN (
                '{"operation":"' || operation || '","rowguid":' || to_json(rowguid)::text
                || ',"tablename":' || to_json(tablename)::text || ',"clientdate":' || client_date::text
                || ',"serverdate":' || stamp::text || ',"clientid":"' || client_id::text || '","rowData":'
            ) || coalesce(row_data, 'null') || '}' END,
            ',' ORDER BY stamp, ordinal
        ),
        'UTF8'
    ) AS lines,
    count(*) FILTER (WHERE wanted) AS delivered, max(octet_length(row_data)) AS largest, max(stamp) AS stamp,
    (array_agg(ordinal ORDER BY stamp, ordinal))[%(rows)s] AS ordinal
FROM (
    SELECT *, operation <> 'D' OR stamp > (SELECT first_stamp FROM bounds) AS wanted
    FROM (
        SELECT *
        FROM sync.rows
        WHERE space_id = (SELECT space_id FROM bounds) AND stamp <= (SELECT "to" FROM bounds)
            AND (stamp, ordinal) > ((SELECT %(after_stamp)s::bigint), (SELECT %(after_ordinal)s::bigint))
        ORDER BY stamp, ordinal
        LIMIT 1000
    ) following
    ORDER BY stamp, ordinal
    LIMIT %(rows)s
) page;

-- name: begin_pull
-- Begins a sync in one statement: nothing comes back where that takes more, or must be refused. The page is of the same snapshot as
-- the clock, so every version up to it is there. A client of which another call has just changed the row is looked at as
-- it is then; the space is not, and need not be: a clock that a push is just moving on is one that this pull need not see.
-- pushed_to is forgotten for that reason: the client's own pushes of before may be beyond such a clock, and others' with them.
-- The token's number must be one that has been given out since the database's last crash (first_number): a copy of a pull that
-- was forgotten then, begun once more with a later clock, would get hold of the device's next token, and the device would
-- never hear of what came in between the two.
-- Nothing that must outlast a crash is changed, and nothing waits for the disk (synchronous_commit), not even for what PostgreSQL
-- tidies up on its way: where that is not enough, nothing comes back either. So with a synchronous standby, for which a pull
-- waits, so that no device sees what may yet be lost.
-- first_stamp: a device whose first pull has a cursor had another client here, and may have rows that were deleted since.
-- with the rest of page_of_small_rows
WITH bounds AS (
    UPDATE sync.syncs y
    SET sync_number = y.sync_number + 1, sync_from = %(from_)s, sync_to = s.clock,
        sync_started = (extract(epoch FROM now()) * 1000)::bigint, sync_digest = %(digest)s, sync_token = %(token_id)s,
        pushed_to = NULL
    FROM sync.clients c
    JOIN sync.users u ON u.id = c.user_id
    JOIN sync.spaces s ON s.id = u.space_id
    WHERE y.client_id = %(client_id)s AND c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
        AND u.token_epoch = %(epoch)s AND u.active
        AND y.sync_started IS NULL AND %(sync_number)s >= y.first_number AND %(sync_number)s <= y.sync_number
        AND (%(from_)s >= s.pruned OR c.first_stamp IS NULL AND %(from_)s = 0)
        AND %(from_)s <= s.clock AND (%(from_)s >= s.restored OR %(from_)s = 0 AND coalesce(c.first_stamp >= s.restored, true))
        AND (
            %(durably)s
            OR %(from_)s >= c.acknowledged AND c.last_error IS NULL
                AND coalesce(current_setting('synchronous_standby_names', true), '') = ''
        )
    RETURNING s.id AS space_id, y.sync_to AS "to",
        coalesce(c.first_stamp, CASE WHEN %(from_)s > 0 THEN 0 ELSE s.clock END) AS first_stamp,
        -- not on CockroachDB, whose setting of that name is not documented: a pull must not depend on it
        CASE
            WHEN NOT %(durably)s AND current_setting('crdb_version', true) IS NULL
                THEN set_config('synchronous_commit', 'off', true)
        END AS synchronous_commit
)
SELECT * FROM bounds;

-- name: begin_pull_with_pending
-- the beginning of begin_pull
-- with the rest of page_of_pull

-- name: begin_pull_quietly
-- Without a page: for a device that is expected to have heard of all. If it has not, `to` tells, and its page is read by itself.
-- the beginning of begin_pull
SELECT NULL::bytea AS lines, 0::bigint AS delivered, NULL::integer AS largest, NULL::bigint AS stamp, NULL::integer AS ordinal,
    space_id, "to", first_stamp
FROM bounds;

-- name: begin_pull_durably
-- A client's first pull, one with a lower cursor than before, one that comes after an error or waits for a standby.
-- acknowledged: what the device has heard of, which decides what may be pruned; it goes up when the sync ends.
-- last_error: of the latest sync only.
-- as begin_pull_with_pending, but for these parts
WITH noted AS (
    UPDATE sync.clients c
    SET first_stamp = coalesce(c.first_stamp, bounds.first_stamp),
        acknowledged = least(coalesce(c.acknowledged, %(from_)s), %(from_)s), last_error = NULL
    FROM bounds
    WHERE c.id = %(client_id)s
    RETURNING 1
)
SELECT 1 FROM noted;

-- name: client_of_push
SELECT u.space_id, u.role, y.sync_number, y.sync_from, y.sync_to, y.sync_token
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
JOIN sync.syncs y ON y.client_id = c.id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active
FOR UPDATE OF c, y;

-- name: last_push
-- The last push that ended a sync, for its repetition (G5). The lock, where client_of_push has found nothing to lock, has the answer wait
-- for a synchronous standby: a primary that came back from a crash may have the push alone.
SELECT c.push_digest, c.push_answer
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active
FOR UPDATE OF c;

-- name: lock_space
-- Pushes of one space run one after the other, so stamps become visible in the order in which they are handed out (G2).
SELECT 1 FROM sync.spaces WHERE id = %(space_id)s FOR UPDATE;

-- name: push_changes
-- A push in one statement. It does nothing and gives no row where the call belongs to no sync under way, where a viewer has changes, or
-- where the statement's snapshot may be older than the lock on the space: then another push has moved the clock, or tombstones have been pruned,
-- between the two, and what is stored must be looked at anew (G2, G4). Every change of a space's rows moves its clock under
-- this lock, so where clock and pruned are the same in the snapshot and under the lock, so are the rows. Locks: the client,
-- then the space; without changes not the space.
-- Stored versions are looked up one by one (OFFSET 0 leaves PostgreSQL no other way): a plan that it made and kept while there
-- were few rows would read all of them.
-- verdict:
--   new    no version is stored
--   same   the client's own version, pushed again (G5)
--   seen   the client's own, or one that it had seen when it pulled: the edit follows it
--   won    unseen on both sides, and the later date wins (G4); the stored version is kept in overridden
--   lost   unseen on both sides; the incoming version is kept in overridden, unless it says the same as the stored one
-- Later versions always rank higher, whatever the devices' clocks say, so what lost once never wins later.
-- now is the database's time, the same for every server: ranks, which are bounded by it, must compare (G4).
-- The history keeps what a delete replaced, which an operator can bring back; what has lost a conflict is in overridden.
WITH client AS (
    SELECT u.space_id, c.first_stamp, y.sync_from, y.sync_to, y.sync_started
    FROM sync.clients c
    JOIN sync.users u ON u.id = c.user_id
    JOIN sync.syncs y ON y.client_id = c.id
    WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
        AND u.token_epoch = %(epoch)s AND u.active
        AND y.sync_from IS NOT NULL AND y.sync_to IS NOT NULL
        AND (y.sync_token = %(token_id)s OR y.sync_number = %(sync_number)s)
        AND (u.role <> 'viewer' OR %(without_changes)s)
    FOR UPDATE OF c, y
),
incoming AS (
    SELECT tablename, rowguid, operation, coalesce(client_date, (extract(epoch FROM now()) * 1000)::bigint) AS client_date,
        row_data, ordinal
    FROM unnest(%(tablenames)b::text[], %(rowguids)b::text[], %(operations)b::text[], %(client_dates)b::bigint[],
        %(row_datas)b::text[]) WITH ORDINALITY
        AS change (tablename, rowguid, operation, client_date, row_data, ordinal)
),
locked AS (
    SELECT s.clock, s.pruned
    FROM client
    JOIN sync.spaces s ON s.id = client.space_id
    WHERE NOT %(without_changes)s
    FOR UPDATE OF s
),
turn AS (
    SELECT client.*, s.clock, s.restored, (extract(epoch FROM now()) * 1000)::bigint AS now,
        greatest((extract(epoch FROM now()) * 1000)::bigint, s.clock + 1) AS stamp
    FROM client
    JOIN sync.spaces s ON s.id = client.space_id
    LEFT JOIN locked ON true
    WHERE (locked.clock = s.clock AND locked.pruned = s.pruned) OR %(without_changes)s
),
judged AS (
    SELECT i.*, turn.space_id, turn.stamp, turn.now, r.operation AS stored_operation, r.row_data AS stored_data,
        r.client_date AS stored_date, r.client_id AS stored_client, r.rank AS stored_rank,
        CASE
            WHEN r.rowguid IS NULL THEN 'new'
            WHEN r.client_id = %(client_id)s THEN
                CASE
                    WHEN r.operation = i.operation AND r.client_date = i.client_date
                        AND r.row_data IS NOT DISTINCT FROM i.row_data THEN 'same'
                    ELSE 'seen'
                END
            WHEN r.stamp <= turn.sync_from THEN 'seen'
            WHEN i.client_date > r.rank THEN 'won'
            ELSE 'lost'
        END AS verdict
    FROM incoming i
    CROSS JOIN turn
    LEFT JOIN LATERAL (
        SELECT *
        FROM sync.rows
        WHERE space_id = turn.space_id AND tablename = i.tablename AND rowguid = i.rowguid
        OFFSET 0
    ) r ON true
),
stored AS (
    INSERT INTO sync.rows
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT space_id, tablename, rowguid, operation, row_data, client_date,
        greatest(least(client_date, now), stored_rank + 1), stamp, ordinal, %(client_id)s
    FROM judged
    WHERE verdict IN ('new', 'seen', 'won')
    ON CONFLICT (space_id, tablename, rowguid) DO UPDATE
    SET operation = excluded.operation, row_data = excluded.row_data, client_date = excluded.client_date,
        rank = excluded.rank, stamp = excluded.stamp, ordinal = excluded.ordinal, client_id = excluded.client_id
    RETURNING 1
),
recorded AS (
    INSERT INTO sync.history
        (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date, old_data)
    SELECT space_id, stamp, ordinal, %(user_id)s, %(client_id)s, tablename, rowguid, operation, client_date,
        CASE WHEN operation = 'D' AND verdict = 'seen' AND %(keep_deleted)s THEN stored_data END
    FROM judged
    WHERE verdict IN ('new', 'seen', 'won')
    RETURNING 1
),
losers AS (
    SELECT space_id, stamp, tablename, rowguid,
        CASE verdict WHEN 'won' THEN stored_operation ELSE operation END AS operation,
        CASE verdict WHEN 'won' THEN stored_data ELSE row_data END AS row_data,
        CASE verdict WHEN 'won' THEN stored_date ELSE client_date END AS client_date,
        CASE verdict WHEN 'won' THEN stored_client ELSE %(client_id)s END AS client_id
    FROM judged
    WHERE verdict = 'won' OR verdict = 'lost' AND NOT (
        (operation = 'D') = (stored_operation = 'D') AND row_data IS NOT DISTINCT FROM stored_data
    )
),
kept AS (
    INSERT INTO sync.overridden (space_id, tablename, rowguid, operation, row_data, client_date, client_id, stamp)
    SELECT space_id, tablename, rowguid, operation, row_data, client_date, client_id, stamp
    FROM losers
    -- a part that is sent again is recorded once (G5)
    WHERE NOT EXISTS (
        SELECT 1
        FROM sync.overridden o
        WHERE o.space_id = losers.space_id AND o.tablename = losers.tablename AND o.rowguid = losers.rowguid
            AND o.client_id = losers.client_id AND o.operation = losers.operation
            AND o.client_date = losers.client_date AND o.row_data IS NOT DISTINCT FROM losers.row_data
    )
    RETURNING 1
),
moved AS (
    UPDATE sync.spaces s SET clock = turn.stamp
    FROM turn
    WHERE s.id = turn.space_id AND EXISTS (SELECT 1 FROM judged WHERE verdict IN ('new', 'seen', 'won'))
    RETURNING s.clock
),
-- The cursor that the device gets: its own changes are behind it (G7), unless another client's came in during the sync, which
-- the device has not heard of (G2). Those that have just been overwritten are none any more. A device's first sync after a restore
-- is followed by its own changes, too: before, in a sync that was broken off, its first one even, it may have applied a version
-- that won then.
answer AS (
    SELECT CASE
        WHEN turn.sync_from < turn.restored AND (turn.sync_from > 0 OR turn.first_stamp < turn.restored) THEN turn.sync_to
        WHEN turn.clock > turn.sync_to AND EXISTS (
            SELECT 1
            FROM (
                -- by the index: where one space has nearly all rows, PostgreSQL would look through all of them; a range with an
                -- upper end, too, it takes to be narrow
                SELECT tablename, rowguid, client_id
                FROM sync.rows
                WHERE space_id = turn.space_id AND stamp > turn.sync_to AND stamp <= turn.clock
                ORDER BY stamp, ordinal
                OFFSET 0
            ) r
            WHERE r.client_id <> %(client_id)s
                AND NOT EXISTS (
                    SELECT 1 FROM judged j
                    WHERE j.tablename = r.tablename AND j.rowguid = r.rowguid AND j.verdict IN ('seen', 'won')
                )
        ) THEN turn.sync_to
        ELSE coalesce((SELECT clock FROM moved), greatest(turn.sync_to, turn.clock))
    END AS cursor
    FROM turn
    WHERE NOT %(is_partial)s
),
finished AS (
    UPDATE sync.clients c
    SET push_digest = %(digest)s, push_answer = answer.cursor, acknowledged = greatest(c.acknowledged, turn.sync_from),
        last_sync = turn.now
    FROM turn
    CROSS JOIN answer
    WHERE c.id = %(client_id)s
    RETURNING 1
),
ended AS (
    UPDATE sync.syncs y
    SET sync_from = NULL, sync_to = NULL, sync_started = NULL, sync_digest = NULL, sync_token = NULL
    FROM answer
    WHERE y.client_id = %(client_id)s
    RETURNING 1
)
SELECT answer.cursor, (SELECT count(*) FROM kept) AS conflicts, turn.now - turn.sync_started AS took
FROM turn
LEFT JOIN answer ON true;

-- name: push_quietly
-- As push_changes does it, for four fifths of its cost, where nobody else has changed anything since the device's cursor: its pull
-- had nothing to bring, and the clock has not moved since but by its own parts before this one (pushed_to). Then it has seen every
-- stored version, nothing wins or loses, and its cursor follows its own changes. That is told under the lock on the space: where the
-- clock has moved the row is looked at once more as it is then, nothing is done and no row comes back. Nor where the space was put
-- back to a backup since the cursor. No delete may be among the changes: the history would not keep what it replaced.
WITH turn AS (
    SELECT u.space_id, s.clock, y.sync_from, y.sync_to, y.sync_started, (extract(epoch FROM now()) * 1000)::bigint AS now,
        greatest((extract(epoch FROM now()) * 1000)::bigint, s.clock + 1) AS stamp
    FROM sync.clients c
    JOIN sync.users u ON u.id = c.user_id
    JOIN sync.spaces s ON s.id = u.space_id
    JOIN sync.syncs y ON y.client_id = c.id
    WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
        AND u.token_epoch = %(epoch)s AND u.active AND u.role <> 'viewer'
        AND (y.sync_token = %(token_id)s OR y.sync_number = %(sync_number)s)
        AND y.sync_from = y.sync_to AND s.clock = greatest(y.sync_to, y.pushed_to) AND y.sync_from >= s.restored
    FOR UPDATE OF c, y, s
),
stored AS (
    INSERT INTO sync.rows AS known
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT turn.space_id, change.tablename, change.rowguid, change.operation, change.row_data,
        coalesce(change.client_date, turn.now), least(coalesce(change.client_date, turn.now), turn.now), turn.stamp, change.ordinal,
        %(client_id)s
    FROM turn
    CROSS JOIN unnest(%(tablenames)b::text[], %(rowguids)b::text[], %(operations)b::text[], %(client_dates)b::bigint[],
        %(row_datas)b::text[]) WITH ORDINALITY
        AS change (tablename, rowguid, operation, client_date, row_data, ordinal)
    ON CONFLICT (space_id, tablename, rowguid) DO UPDATE
    SET operation = excluded.operation, row_data = excluded.row_data, client_date = excluded.client_date,
        rank = greatest(excluded.rank, known.rank + 1), stamp = excluded.stamp, ordinal = excluded.ordinal,
        client_id = excluded.client_id
    WHERE NOT (
        known.client_id = excluded.client_id AND known.operation = excluded.operation
        AND known.client_date = excluded.client_date AND known.row_data IS NOT DISTINCT FROM excluded.row_data
    )
    RETURNING space_id, stamp, ordinal, tablename, rowguid, operation, client_date
),
recorded AS (
    INSERT INTO sync.history (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date)
    SELECT space_id, stamp, ordinal, %(user_id)s, %(client_id)s, tablename, rowguid, operation, client_date
    FROM stored
    RETURNING 1
),
moved AS (
    UPDATE sync.spaces s SET clock = turn.stamp
    FROM turn
    WHERE s.id = turn.space_id AND EXISTS (SELECT 1 FROM stored)
    RETURNING s.clock
),
answer AS (
    SELECT coalesce((SELECT clock FROM moved), turn.clock) AS cursor
    FROM turn
    WHERE NOT %(is_partial)s
),
finished AS (
    UPDATE sync.clients c
    SET push_digest = %(digest)s, push_answer = answer.cursor, acknowledged = greatest(c.acknowledged, turn.sync_from),
        last_sync = turn.now
    FROM turn
    CROSS JOIN answer
    WHERE c.id = %(client_id)s
    RETURNING 1
),
ended AS (
    UPDATE sync.syncs y
    SET pushed_to = coalesce((SELECT clock FROM moved), y.pushed_to),
        sync_from = CASE WHEN %(is_partial)s THEN y.sync_from END, sync_to = CASE WHEN %(is_partial)s THEN y.sync_to END,
        sync_started = CASE WHEN %(is_partial)s THEN y.sync_started END,
        sync_digest = CASE WHEN %(is_partial)s THEN y.sync_digest END,
        sync_token = CASE WHEN %(is_partial)s THEN y.sync_token END
    FROM turn
    WHERE y.client_id = %(client_id)s
    RETURNING 1
)
SELECT answer.cursor, 0::bigint AS conflicts, turn.now - turn.sync_started AS took
FROM turn
LEFT JOIN answer ON true;

-- name: push_nothing_quietly
-- The end of a sync that has brought nothing either way, which is most of them. Nothing is stored, so the space is not locked: a
-- clock that a push is just moving on need not be seen, for the cursor that is answered stays before it.
-- as push_quietly, but for these parts
-- without stored, recorded, moved
WITH turn AS (
    SELECT u.space_id, s.clock, y.sync_from, y.sync_started, (extract(epoch FROM now()) * 1000)::bigint AS now
    FROM sync.clients c
    JOIN sync.users u ON u.id = c.user_id
    JOIN sync.spaces s ON s.id = u.space_id
    JOIN sync.syncs y ON y.client_id = c.id
    WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
        AND u.token_epoch = %(epoch)s AND u.active
        AND (y.sync_token = %(token_id)s OR y.sync_number = %(sync_number)s)
        AND y.sync_from = y.sync_to AND s.clock = greatest(y.sync_to, y.pushed_to) AND y.sync_from >= s.restored
    FOR UPDATE OF c, y
),
answer AS (
    SELECT turn.clock AS cursor FROM turn
),
ended AS (
    UPDATE sync.syncs y
    SET sync_from = NULL, sync_to = NULL, sync_started = NULL, sync_digest = NULL, sync_token = NULL
    FROM answer
    WHERE y.client_id = %(client_id)s
    RETURNING 1
)
SELECT 1;

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
SELECT k.id, u.email, k.client_id, k.received_at, k.reason, k.detail, k.most, k.bytes, k.change IS NOT NULL AS complete,
    k.settled, k.settled_at
FROM sync.kept_aside k
JOIN sync.users u ON u.id = k.user_id
WHERE %(also_settled)s OR k.settled IS NULL
ORDER BY k.received_at, k.id;

-- name: kept_aside_change
SELECT change FROM sync.kept_aside WHERE id = %(id)s;

-- name: count_syncs
-- Those under way of other clients, for each that asks; one without a sign of life for two minutes is abandoned, and so is one of
-- the future: the database's clock was wrong then. Those that a server is just letting in it counts itself. There is no index for it:
-- each sync would have to change it twice.
WITH under_way AS MATERIALIZED (
    SELECT client_id
    FROM sync.syncs
    WHERE sync_started > (SELECT (extract(epoch FROM now()) * 1000)::bigint - %(takeover)s)
        AND sync_started < (SELECT (extract(epoch FROM now()) * 1000)::bigint + %(takeover)s)
        AND client_id <> ALL(%(entering)b::uuid[])
)
SELECT (SELECT count(*) FROM under_way WHERE client_id <> asked.client_id) AS others
FROM unnest(%(client_ids)b::uuid[]) WITH ORDINALITY AS asked (client_id, number)
ORDER BY asked.number;

-- name: cancel_sync
-- A call that was held up and belongs to an earlier sync cancels nothing, nor does one whose token has been revoked (G8): then
-- no value comes back.
WITH cancelled AS (
    UPDATE sync.syncs y
    SET sync_from = NULL, sync_to = NULL, sync_started = NULL, sync_digest = NULL, sync_token = NULL
    FROM sync.clients c
    JOIN sync.users u ON u.id = c.user_id
    WHERE y.client_id = %(client_id)s AND c.id = y.client_id AND c.user_id = %(user_id)s AND c.session = %(session)s
        AND u.token_epoch = %(epoch)s AND u.active
        AND y.sync_started IS NOT NULL AND (y.sync_token = %(token_id)s OR y.sync_number = %(sync_number)s)
    RETURNING 1
)
SELECT 1
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active;

-- name: client_is_known
SELECT 1
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
WHERE c.id = %(client_id)s AND c.user_id = %(user_id)s AND c.session = %(session)s
    AND u.token_epoch = %(epoch)s AND u.active;
