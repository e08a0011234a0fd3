-- name: totp_of_user
SELECT nonce, confirmed, last_step FROM sync.totp WHERE user_id = %(user_id)s;

-- name: lock_totp
-- So that whoever tries a code sees the tries before it counted.
SELECT user_id FROM sync.totp WHERE user_id = %(user_id)s FOR UPDATE;

-- name: begin_totp
-- One that has been confirmed stays.
INSERT INTO sync.totp AS t (user_id, nonce)
VALUES (%(user_id)s, %(nonce)s)
ON CONFLICT (user_id) DO UPDATE SET nonce = excluded.nonce, last_step = 0 WHERE NOT t.confirmed;

-- name: use_totp_step
-- Each code is good for once: no row when it, or a later one, has been used.
UPDATE sync.totp SET last_step = %(step)s, confirmed = true WHERE user_id = %(user_id)s AND last_step < %(step)s;

-- name: remove_totp
-- The recovery codes go with it.
DELETE FROM sync.totp WHERE user_id = %(user_id)s;

-- name: keep_recovery_codes
INSERT INTO sync.recovery_codes (user_id, digest)
SELECT %(user_id)s, digest FROM unnest(%(digests)s::text[]) AS given (digest)
ON CONFLICT (user_id, digest) DO NOTHING;

-- name: use_recovery_code
DELETE FROM sync.recovery_codes WHERE user_id = %(user_id)s AND digest = %(digest)s;
