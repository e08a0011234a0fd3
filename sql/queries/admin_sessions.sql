-- name: find_admin
-- Who may sign in with an address, if anybody.
SELECT id AS user_id, role, active, password_hash FROM sync.users WHERE email_key = %(email_key)s;

-- name: begin_admin_session
-- No row when the user is gone, locked or has another password since it was checked.
INSERT INTO sync.admin_sessions (id, user_id, token_epoch, refresh_id, expires, address, user_agent)
SELECT %(session_id)s, id, token_epoch, %(token_id)s, (extract(epoch FROM now()) * 1000)::bigint + %(lifetime)s,
    %(address)s, %(user_agent)s
FROM sync.users
WHERE id = %(user_id)s AND active AND password_hash = %(password_hash)s
ON CONFLICT (id) DO NOTHING;

-- name: make_room_for_admin_session
-- Those that have ended go, and where there are too many those that have not been used for longest.
DELETE FROM sync.admin_sessions
WHERE user_id = %(user_id)s AND (
    expires <= (extract(epoch FROM now()) * 1000)::bigint
    OR id IN (
        SELECT id FROM sync.admin_sessions
        WHERE user_id = %(user_id)s
        ORDER BY expires DESC, id
        OFFSET %(most)s - 1
    )
);

-- name: admin_of_session
-- What every call asks first, so a revocation counts from the next one on.
SELECT u.email, u.name, u.language, u.role
FROM sync.admin_sessions s
JOIN sync.users u ON u.id = s.user_id
WHERE s.id = %(session_id)s AND s.user_id = %(user_id)s AND s.token_epoch = u.token_epoch AND u.active
    AND s.expires > (extract(epoch FROM now()) * 1000)::bigint;

-- name: lock_admin_session
-- A rotation, and nothing else, puts the end off to its moment and the lifetime: so the end tells when it was.
SELECT s.refresh_id, s.refresh_previous,
    (extract(epoch FROM now()) * 1000)::bigint - (s.expires - %(lifetime)s::bigint) AS age
FROM sync.admin_sessions s
JOIN sync.users u ON u.id = s.user_id
WHERE s.id = %(session_id)s AND s.user_id = %(user_id)s AND s.token_epoch = u.token_epoch AND u.active
    AND s.expires > (extract(epoch FROM now()) * 1000)::bigint
FOR UPDATE OF s;

-- name: rotate_admin_refresh
UPDATE sync.admin_sessions
SET refresh_previous = refresh_id, refresh_id = %(new_id)s,
    expires = (extract(epoch FROM now()) * 1000)::bigint + %(lifetime)s
WHERE id = %(session_id)s;

-- name: end_admin_session
DELETE FROM sync.admin_sessions WHERE id = %(session_id)s AND user_id = %(user_id)s;

-- name: end_other_admin_sessions
DELETE FROM sync.admin_sessions WHERE user_id = %(user_id)s AND id <> %(session_id)s;

-- name: own_admin_sessions
-- Those that are good, the latest sign-in first, from a place on.
SELECT s.id, s.created_at, s.expires - %(lifetime)s::bigint AS renewed, s.expires, s.address, s.user_agent
FROM sync.admin_sessions s
JOIN sync.users u ON u.id = s.user_id
WHERE s.user_id = %(user_id)s AND s.token_epoch = u.token_epoch
    AND s.expires > (extract(epoch FROM now()) * 1000)::bigint
    AND (%(after)s::timestamptz IS NULL OR (s.created_at, s.id) < (%(after)s::timestamptz, %(after_id)s::uuid))
ORDER BY s.created_at DESC, s.id DESC
LIMIT %(fetch)s;
