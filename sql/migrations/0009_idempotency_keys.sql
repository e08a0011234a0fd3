-- Calls of the admin API that made something, so that the same call again, as after a lost answer, makes nothing twice.
CREATE TABLE sync.idempotency_keys (
    -- who called, which may be an owner of another realm
    user_id uuid NOT NULL,
    -- a digest of the call's path and of the key that it brought
    key text NOT NULL,
    -- a digest of the call's body
    fingerprint text NOT NULL,
    -- what was made
    entity_id uuid NOT NULL,
    -- ms since the epoch, by the database's clock
    expires bigint NOT NULL,
    PRIMARY KEY (user_id, key)
);
