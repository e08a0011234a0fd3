-- Sessions of people in the admin API.
CREATE TABLE sync.admin_sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES sync.users (id) ON DELETE CASCADE,
    -- the user's when they signed in: raising theirs ends the session
    token_epoch bigint NOT NULL,
    refresh_id text NOT NULL,
    -- the refresh token before, valid until the present one has been used
    refresh_previous text,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- ms since the epoch, by the database's clock
    expires bigint NOT NULL
);
CREATE INDEX admin_sessions_by_user ON sync.admin_sessions (user_id);

-- Users are listed by age, too.
CREATE INDEX users_by_age ON sync.users (created_at, id);
