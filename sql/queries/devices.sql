-- name: devices
-- A page of devices, those first that have not synced for longest, from a place on (last_sync, id). A device that has not finished a
-- sync yet is older than all others. behind: changes of others since the cursor that it has, counted up to 1000.
WITH page AS (
    SELECT c.*, u.email, u.space_id, u.active, coalesce(c.last_sync, 0) AS synced
    FROM sync.clients c
    JOIN sync.users u ON u.id = c.user_id
    WHERE (%(user_id)s::uuid IS NULL OR c.user_id = %(user_id)s)
        AND (%(id)s::uuid IS NULL OR c.id = %(id)s)
        AND (%(before)s::bigint IS NULL OR coalesce(c.last_sync, 0) < %(before)s)
        AND (%(search)s::text IS NULL OR strpos(lower(c.details), %(search)s) > 0 OR strpos(u.email_key, %(search)s) > 0)
        AND (coalesce(c.last_sync, 0), c.id) > (%(synced)s::bigint, %(after_id)s::uuid)
    ORDER BY coalesce(c.last_sync, 0), c.id
    LIMIT %(fetch)s
)
SELECT p.id, p.user_id, p.email, p.active, p.details, p.created_at, p.last_sync, p.refresh_id IS NOT NULL AS signed_in,
    y.sync_started,
    coalesce(y.sync_started < (extract(epoch FROM now()) * 1000)::bigint - 120000, false) AS abandoned,
    coalesce(
        greatest(d.seen, d.pulled_at, d.synced_at, d.error_at, p.last_sync)
            < (extract(epoch FROM now()) * 1000)::bigint - 604800000,
        false
    ) AS silent,
    d.seen, d.pulled_at, d.pulled, d.synced_at, d.pushed, d.took, d.error_at, d.error, d.error_call,
    (SELECT count(*) FROM sync.uploads up WHERE up.client_id = p.id) AS uploads,
    (SELECT count(*) FROM sync.kept_aside k WHERE k.client_id = p.id AND k.user_id = p.user_id AND k.settled IS NULL)
        AS kept_aside,
    (
        SELECT count(*)
        FROM (
            SELECT 1 FROM sync.rows r
            WHERE r.space_id = p.space_id AND r.stamp > coalesce(p.push_answer, p.acknowledged, 0) AND r.client_id <> p.id
            LIMIT 1000
        ) AS counted
    ) AS behind
FROM page p
LEFT JOIN sync.device_status d ON d.client_id = p.id
LEFT JOIN sync.syncs y ON y.client_id = p.id
ORDER BY p.synced, p.id;

-- name: count_devices
SELECT count(*)
FROM sync.clients c
JOIN sync.users u ON u.id = c.user_id
WHERE (%(user_id)s::uuid IS NULL OR c.user_id = %(user_id)s)
    AND (%(before)s::bigint IS NULL OR coalesce(c.last_sync, 0) < %(before)s)
    AND (%(search)s::text IS NULL OR strpos(lower(c.details), %(search)s) > 0 OR strpos(u.email_key, %(search)s) > 0);

-- name: stop_sync
-- Whatever it still sends is refused; it begins anew, and has lost nothing. Tokens of before are void for pulls, as after a crash:
-- a copy of the pull that began the sync would begin it once more, with a later clock, and the device, which goes on, would never
-- hear of what came in between the two.
UPDATE sync.syncs
SET first_number = sync_number + 1, sync_number = sync_number + 1,
    sync_from = NULL, sync_to = NULL, sync_started = NULL, sync_digest = NULL, sync_token = NULL
WHERE client_id = %(client_id)s AND sync_started IS NOT NULL;

-- name: sign_out_device
UPDATE sync.clients
SET session = session + 1, refresh_id = NULL, refresh_previous = NULL, refresh_issued = NULL
WHERE id = %(client_id)s;

-- name: remove_device
-- Its status and uploads go with it; rows, history and what is kept aside stay.
DELETE FROM sync.clients WHERE id = %(client_id)s;
