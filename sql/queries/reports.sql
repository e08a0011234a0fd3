-- name: report
-- What a server has seen since its last report: ages are in ms. One statement, so that it is a transaction of its own. Devices
-- that are gone are passed over. What is newer stays: several servers report, in any order.
WITH t AS (
    SELECT now, now - mod(now, 3600000::bigint) AS hour, now - mod(now, 86400000::bigint) AS day
    FROM (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) n
),
devices AS (
    INSERT INTO sync.device_status AS d
        (client_id, seen, pulled_at, pulled, synced_at, pushed, took, pushing, error_at, error, error_call)
    SELECT r.client_id, t.now - r.seen, t.now - r.pulled_age, r.pulled, t.now - r.synced_age, r.pushed, r.took, r.pushing,
        t.now - r.error_age, r.error, r.error_call
    FROM unnest(%(client_ids)b::uuid[], %(seen)b::bigint[], %(pulled_ages)b::bigint[], %(pulled)b::bigint[],
        %(synced_ages)b::bigint[], %(pushed)b::bigint[], %(took)b::bigint[], %(pushing)b::bigint[],
        %(error_ages)b::bigint[], %(errors)b::text[], %(error_calls)b::text[])
        AS r (client_id, seen, pulled_age, pulled, synced_age, pushed, took, pushing, error_age, error, error_call)
    JOIN sync.clients c ON c.id = r.client_id
    CROSS JOIN t
    ORDER BY r.client_id
    ON CONFLICT (client_id) DO UPDATE
    SET seen = greatest(d.seen, excluded.seen),
        pulled_at = greatest(d.pulled_at, excluded.pulled_at),
        pulled = CASE WHEN excluded.pulled_at >= coalesce(d.pulled_at, 0) THEN excluded.pulled ELSE d.pulled END,
        synced_at = greatest(d.synced_at, excluded.synced_at),
        pushed = CASE
            WHEN excluded.synced_at >= coalesce(d.synced_at, 0) THEN d.pushing + excluded.pushed
            ELSE d.pushed
        END,
        took = CASE WHEN excluded.synced_at >= coalesce(d.synced_at, 0) THEN excluded.took ELSE d.took END,
        pushing = CASE WHEN excluded.synced_at IS NULL THEN d.pushing + excluded.pushing ELSE excluded.pushing END,
        error_at = greatest(d.error_at, excluded.error_at),
        error = CASE WHEN excluded.error_at >= coalesce(d.error_at, 0) THEN excluded.error ELSE d.error END,
        error_call = CASE WHEN excluded.error_at >= coalesce(d.error_at, 0) THEN excluded.error_call ELSE d.error_call END
    RETURNING 1
),
active AS (
    INSERT INTO sync.activity AS a (client_id, day, hours)
    SELECT r.client_id, t.day, h.bit
    FROM unnest(%(active)b::uuid[]) AS r (client_id)
    JOIN sync.clients c ON c.id = r.client_id
    CROSS JOIN t
    JOIN unnest(%(hour_starts)b::bigint[], %(hour_bits)b::bigint[]) AS h (start, bit) ON h.start = t.hour - t.day
    ORDER BY r.client_id
    ON CONFLICT (client_id, day) DO UPDATE SET hours = a.hours | excluded.hours
    RETURNING 1
),
counted AS (
    INSERT INTO sync.stats AS s (name, hour, amount)
    SELECT r.name, t.hour, r.amount
    FROM unnest(%(names)b::text[], %(amounts)b::bigint[]) AS r (name, amount)
    CROSS JOIN t
    ORDER BY r.name
    ON CONFLICT (name, hour) DO UPDATE SET amount = s.amount + excluded.amount
    RETURNING 1
)
SELECT 1;
