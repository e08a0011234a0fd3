-- The second factor of people in the admin API. Their secrets follow from a random nonce and the server's keys: the database alone
-- gives none away.
CREATE TABLE sync.totp (
    user_id uuid PRIMARY KEY REFERENCES sync.users (id) ON DELETE CASCADE,
    nonce text NOT NULL,
    -- whether a code has been shown to work; before that it is asked for nowhere
    confirmed boolean NOT NULL DEFAULT false,
    -- the 30 seconds that the last code was for
    last_step bigint NOT NULL DEFAULT 0
);
CREATE TABLE sync.recovery_codes (
    user_id uuid NOT NULL REFERENCES sync.totp (user_id) ON DELETE CASCADE,
    -- keyed
    digest text NOT NULL,
    PRIMARY KEY (user_id, digest)
);
