-- name: database_time
-- Milliseconds since the epoch. Whatever is compared with another server's times is by the database's clock, which is the same
-- for all of them: now() is the time when the transaction began.
SELECT (extract(epoch FROM now()) * 1000)::bigint;

-- name: find_account
-- What is known of an address and of a clientId, one row whatever is missing.
SELECT u.id AS user_id, u.name, u.language, u.password_hash, u.active, c.user_id AS client_owner
FROM (SELECT 1) AS always
LEFT JOIN sync.users u ON u.email_key = %(email_key)s
LEFT JOIN sync.clients c ON c.id = %(client_id)s;

-- name: create_space
-- It is there already when the transaction was committed but the answer lost, and the whole is run again.
INSERT INTO sync.spaces (id) VALUES (%(user_id)s) ON CONFLICT (id) DO NOTHING;

-- name: create_user
-- No row when another registration of this address came first.
INSERT INTO sync.users (id, space_id, email, email_key, name, language, password_hash)
VALUES (%(user_id)s, %(user_id)s, %(email)s, %(email_key)s, %(name)s, %(language)s, %(password_hash)s)
ON CONFLICT (email_key) DO NOTHING;

-- name: create_client
-- No row when the clientId is in use, or the user is gone, locked or has another password since it was checked.
-- session begins at the time, so that tokens from before a client left are void when it comes back.
INSERT INTO sync.clients (id, user_id, details, session)
SELECT %(client_id)s, id, %(details)s, (extract(epoch FROM now()) * 1000)::bigint
FROM sync.users
WHERE id = %(user_id)s AND active AND password_hash = %(password_hash)s
ON CONFLICT (id) DO NOTHING;

-- name: lock_user
SELECT 1 FROM sync.users WHERE id = %(user_id)s FOR UPDATE;

-- name: count_clients
SELECT count(*) FROM sync.clients WHERE user_id = %(user_id)s;

-- name: drop_longest_unseen_client
-- A phone that is lost cannot be unregistered. last_sync and refresh_issued are its signs of life.
DELETE FROM sync.clients
WHERE id = (
    SELECT id
    FROM sync.clients
    WHERE user_id = %(user_id)s
        AND greatest(last_sync, refresh_issued, (extract(epoch FROM created_at) * 1000)::bigint)
            < (extract(epoch FROM now()) * 1000)::bigint - %(unseen)s::bigint
    ORDER BY greatest(last_sync, refresh_issued, (extract(epoch FROM created_at) * 1000)::bigint)
    LIMIT 1
)
RETURNING id;

-- name: begin_session
-- A refresh token that a login replaces stays valid until the new one has been used: the login's answer may get lost. So may the
-- commit's: the statement is run again then, and must not take its own token for the one before.
UPDATE sync.clients c
SET refresh_previous = CASE WHEN c.refresh_id = %(refresh_id)s THEN c.refresh_previous ELSE c.refresh_id END, refresh_id = %(refresh_id)s,
    refresh_issued = (extract(epoch FROM now()) * 1000)::bigint
FROM sync.users u
WHERE c.id = %(client_id)s AND u.id = c.user_id AND u.id = %(user_id)s AND u.active
    AND u.password_hash = %(password_hash)s
RETURNING u.token_epoch AS epoch, c.session;

-- name: improve_password_hash
UPDATE sync.users SET password_hash = %(better)s WHERE id = %(user_id)s AND password_hash = %(password_hash)s;

-- name: sessions_of_devices
-- Of devices that call at the same moment; one whose token has been revoked has no row. Each is looked up by itself (OFFSET 0
-- leaves PostgreSQL no other way): a plan that it made and kept while there were few clients would read all of them. In selects of
-- their own the arrays do not tell how long they are: it would plan anew whenever there are less than ten.
SELECT asked.number, found.*
FROM unnest(
    (SELECT %(client_ids)b::uuid[]), (SELECT %(user_ids)b::uuid[]), (SELECT %(sessions)b::bigint[]), (SELECT %(epochs)b::bigint[])
) WITH ORDINALITY AS asked (client_id, user_id, session, epoch, number)
CROSS JOIN LATERAL (
    SELECT c.refresh_id, c.refresh_previous, y.sync_number, y.sync_started IS NOT NULL AS syncing,
        (extract(epoch FROM now()) * 1000)::bigint - coalesce(c.refresh_issued, 0) AS refresh_age,
        CASE
            WHEN y.sync_started IS NULL THEN s.clock = c.push_answer
            ELSE y.sync_from = y.sync_to AND s.clock = greatest(y.sync_to, y.pushed_to)
        END AS quiet
    FROM sync.clients c
    JOIN sync.users u ON u.id = c.user_id
    JOIN sync.spaces s ON s.id = u.space_id
    LEFT JOIN sync.syncs y ON y.client_id = c.id
    WHERE c.id = asked.client_id AND c.user_id = asked.user_id AND c.session = asked.session
        AND u.token_epoch = asked.epoch AND u.active
    OFFSET 0
) found;

-- name: rotate_refresh
UPDATE sync.clients
SET refresh_previous = refresh_id, refresh_id = %(refresh_id)s,
    refresh_issued = (extract(epoch FROM now()) * 1000)::bigint
WHERE id = %(client_id)s AND refresh_id = %(token_id)s;

-- name: forget_previous_refresh
UPDATE sync.clients SET refresh_previous = NULL WHERE id = %(client_id)s AND refresh_id = %(token_id)s;

-- name: end_session
UPDATE sync.clients
SET session = session + 1, refresh_id = NULL, refresh_previous = NULL, refresh_issued = NULL
WHERE id = %(client_id)s AND user_id = %(user_id)s AND session = %(session)s;

-- name: delete_client
DELETE FROM sync.clients WHERE id = %(client_id)s AND user_id = %(user_id)s;

-- name: lock_clients_of_user
-- In the order in which a push takes its locks: client, then space.
SELECT id FROM sync.clients WHERE user_id = %(user_id)s ORDER BY id FOR UPDATE;

-- name: space_of_user
-- The user's space, and whether somebody else uses it too.
SELECT s.id AS space_id,
    EXISTS (SELECT 1 FROM sync.users o WHERE o.space_id = s.id AND o.id <> u.id) AS shared
FROM sync.users u
JOIN sync.spaces s ON s.id = u.space_id
WHERE u.id = %(user_id)s
FOR UPDATE OF s;

-- name: delete_user
-- Clients, PINs, mails and uploads go with it.
DELETE FROM sync.users WHERE id = %(user_id)s;

-- name: forget_adopted_user
-- What was noted of them when they were taken over from a sync_server_ts. That they were is kept, or they would be again.
UPDATE sync.adopted_users
SET email_key = '', password_digest = '', taken_email_key = NULL, taken_password_digest = NULL
WHERE user_id = %(user_id)s;

-- name: forget_adoption_findings
DELETE FROM sync.adoption_findings WHERE user_id = %(user_id)s;

-- name: delete_rows_of_space
DELETE FROM sync.rows WHERE space_id = %(space_id)s;

-- name: delete_history_of_space
DELETE FROM sync.history WHERE space_id = %(space_id)s;

-- name: delete_overridden_of_space
DELETE FROM sync.overridden WHERE space_id = %(space_id)s;

-- name: delete_space
DELETE FROM sync.spaces WHERE id = %(space_id)s;

-- name: demand_pin
-- One live PIN per user.
-- The same call again within a short time makes no second one, which would void the one just mailed.
INSERT INTO sync.pins AS p (user_id, nonce, created)
SELECT id, %(nonce)s, (extract(epoch FROM now()) * 1000)::bigint
FROM sync.users
WHERE email_key = %(email_key)s AND active
ON CONFLICT (user_id) DO UPDATE
SET nonce = excluded.nonce, created = excluded.created, attempts = 0, last_tried = NULL, used = false
WHERE p.used OR p.attempts >= %(tries)s OR p.created <= excluded.created - %(repeat)s
RETURNING user_id;

-- name: drop_pin_mails
DELETE FROM sync.mails WHERE user_id = %(user_id)s AND template = 'pin';

-- name: queue_pin_mail
INSERT INTO sync.mails (id, user_id, template, details, created, expires, next_try)
SELECT %(mail_id)s, u.id, 'pin', %(details)s, t.now, t.now + %(lifetime)s, t.now
FROM sync.users u, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) t
WHERE u.id = %(user_id)s;

-- name: try_pin
-- Counts the try, right or wrong; no row when there is no live PIN or its tries are used up. The same PIN again is the same
-- call again, and no further try: the client sends each refused call twice.
UPDATE sync.pins p
SET attempts = p.attempts + CASE WHEN p.last_tried = %(tried)s THEN 0 ELSE 1 END, last_tried = %(tried)s
FROM sync.users u
WHERE u.id = p.user_id AND u.email_key = %(email_key)s AND u.active
    AND p.created > (extract(epoch FROM now()) * 1000)::bigint - %(lifetime)s
    AND (p.attempts < %(tries)s OR p.last_tried = %(tried)s)
RETURNING p.user_id, p.nonce, p.used, u.password_hash;

-- name: use_pin
UPDATE sync.pins SET used = true WHERE user_id = %(user_id)s;

-- name: change_password
-- Every token of the user is void from here on.
UPDATE sync.users
SET password_hash = %(password_hash)s, token_epoch = token_epoch + 1, changed_at = now()
WHERE id = %(user_id)s;

-- name: count_attempts
SELECT key, count(*) AS attempts
FROM sync.attempts
WHERE key = ANY(%(keys)s::text[]) AND expires > (extract(epoch FROM now()) * 1000)::bigint
GROUP BY key;

-- name: attempt_is_counted
SELECT 1 FROM sync.attempts
WHERE key = ANY(%(keys)s::text[]) AND item = %(item)s AND expires > (extract(epoch FROM now()) * 1000)::bigint
LIMIT 1;

-- name: record_attempt
INSERT INTO sync.attempts (key, item, expires)
SELECT key, %(item)s, (extract(epoch FROM now()) * 1000)::bigint + milliseconds
FROM unnest(%(keys)s::text[], %(windows)s::bigint[]) AS counted (key, milliseconds)
ON CONFLICT (key, item) DO UPDATE SET expires = excluded.expires;

-- name: drop_attempts
DELETE FROM sync.attempts WHERE key = ANY(%(keys)s::text[]);
