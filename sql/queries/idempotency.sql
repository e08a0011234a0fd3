-- name: claim_idempotency_key
-- Whoever comes first has it; one that has expired is anybody's.
INSERT INTO sync.idempotency_keys AS k (user_id, key, fingerprint, entity_id, expires)
VALUES (
    %(user_id)s, %(key)s, %(fingerprint)s, %(entity_id)s, (extract(epoch FROM now()) * 1000)::bigint + %(lifetime)s
)
ON CONFLICT (user_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, entity_id = excluded.entity_id, expires = excluded.expires
WHERE k.expires <= (extract(epoch FROM now()) * 1000)::bigint;

-- name: idempotency_key
SELECT fingerprint, entity_id FROM sync.idempotency_keys WHERE user_id = %(user_id)s AND key = %(key)s;

-- name: drop_expired_idempotency_keys
DELETE FROM sync.idempotency_keys
WHERE user_id = %(user_id)s AND expires <= (extract(epoch FROM now()) * 1000)::bigint;
