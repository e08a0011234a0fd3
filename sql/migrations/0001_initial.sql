-- The schema's text says "sync"; a realm that is configured with a schema of its own gets that name instead.
-- Plain SQL that PostgreSQL 14 and CockroachDB 23.2 both take. Times that order or expire something are bigints in ms
-- since the epoch, given by the server; *_at columns are for people.

-- The set of rows that sync together. clock is the highest stamp that was handed out; it never goes back (G2).
CREATE TABLE sync.spaces (
    id uuid PRIMARY KEY,
    clock bigint NOT NULL DEFAULT 0
);

CREATE TABLE sync.users (
    id uuid PRIMARY KEY,
    space_id uuid NOT NULL REFERENCES sync.spaces (id),
    email text NOT NULL,
    -- the address as it is compared: without regard to case
    email_key text NOT NULL UNIQUE,
    name text NOT NULL,
    language text,
    password_hash text NOT NULL,
    role text NOT NULL DEFAULT 'user',
    active boolean NOT NULL DEFAULT true,
    -- every token carries it; raising it voids them all
    token_epoch bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_by_space ON sync.users (space_id);

CREATE TABLE sync.clients (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES sync.users (id) ON DELETE CASCADE,
    -- clientDescription as the device sent it, usually JSON
    details text NOT NULL DEFAULT '',
    -- tokens carry it; raising it ends the client's session
    session bigint NOT NULL DEFAULT 0,
    refresh_id text,
    refresh_issued bigint,
    -- the refresh token before, valid until the present one has been used
    refresh_previous text,
    -- the space's clock at the client's first pull: tombstones up to it are of no interest to this client (G6)
    first_stamp bigint,
    sync_number bigint NOT NULL DEFAULT 0,
    -- the sync under way, if any
    sync_from bigint,
    sync_to bigint,
    sync_started bigint,
    sync_digest text,
    sync_token text,
    -- the last finished push, for its repetition (G5)
    push_digest text,
    push_answer bigint,
    last_sync bigint,
    app_version text,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX clients_by_user ON sync.clients (user_id);

-- The current version of every row, deleted ones included. No foreign keys: they would be checked row by row.
CREATE TABLE sync.rows (
    space_id uuid NOT NULL,
    tablename text NOT NULL,
    rowguid text NOT NULL,
    operation text NOT NULL,
    -- JSON as it was sent, byte for byte (G9); null for a deleted row
    row_data text,
    -- as the device sent it
    client_date bigint NOT NULL,
    -- what conflicts are decided by; only ever rises
    rank bigint NOT NULL,
    -- position in the space's order of changes: the push, then the change within it
    stamp bigint NOT NULL,
    ordinal integer NOT NULL,
    client_id uuid NOT NULL,
    PRIMARY KEY (space_id, tablename, rowguid)
);
CREATE INDEX rows_by_stamp ON sync.rows (space_id, stamp, ordinal);

-- One line per applied change, never changed.
CREATE TABLE sync.history (
    space_id uuid NOT NULL,
    stamp bigint NOT NULL,
    ordinal integer NOT NULL,
    user_id uuid NOT NULL,
    client_id uuid NOT NULL,
    tablename text NOT NULL,
    rowguid text NOT NULL,
    operation text NOT NULL,
    client_date bigint NOT NULL,
    -- kept where the realm's configuration says "history": "full"
    row_data text,
    PRIMARY KEY (space_id, stamp, ordinal)
);

-- Versions that lost a conflict, with their data (G4). stamp: that of the push that decided it.
CREATE TABLE sync.overridden (
    space_id uuid NOT NULL,
    tablename text NOT NULL,
    rowguid text NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    operation text NOT NULL,
    row_data text,
    client_date bigint NOT NULL,
    client_id uuid NOT NULL,
    stamp bigint NOT NULL,
    PRIMARY KEY (space_id, tablename, rowguid, id)
);

-- The PIN follows from the nonce and a key of the server's, so neither the PIN nor anything to try it on is stored.
CREATE TABLE sync.pins (
    user_id uuid PRIMARY KEY REFERENCES sync.users (id) ON DELETE CASCADE,
    nonce text NOT NULL,
    created bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    -- a keyed digest of the latest try: the same one again does not count
    last_tried text,
    used boolean NOT NULL DEFAULT false
);

-- Mails to be sent. details: what the template needs, as JSON; never a PIN.
CREATE TABLE sync.mails (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES sync.users (id) ON DELETE CASCADE,
    template text NOT NULL,
    details text NOT NULL,
    created bigint NOT NULL,
    expires bigint NOT NULL,
    next_try bigint NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    last_error text
);
CREATE INDEX mails_by_user ON sync.mails (user_id);
CREATE INDEX mails_by_next_try ON sync.mails (next_try);

-- Calls that arrive in parts.
CREATE TABLE sync.uploads (
    client_id uuid NOT NULL REFERENCES sync.clients (id) ON DELETE CASCADE,
    call text NOT NULL,
    sync_id text NOT NULL,
    chunks integer NOT NULL,
    touched bigint NOT NULL,
    PRIMARY KEY (client_id, call, sync_id)
);
CREATE TABLE sync.upload_parts (
    client_id uuid NOT NULL,
    call text NOT NULL,
    sync_id text NOT NULL,
    chunk_index integer NOT NULL,
    piece bytea NOT NULL,
    PRIMARY KEY (client_id, call, sync_id, chunk_index),
    FOREIGN KEY (client_id, call, sync_id) REFERENCES sync.uploads (client_id, call, sync_id) ON DELETE CASCADE
);

-- What counts against a limit: distinct items (a digest of what was tried) under a key (what is limited), until they expire.
CREATE TABLE sync.attempts (
    key text NOT NULL,
    item text NOT NULL,
    expires bigint NOT NULL,
    PRIMARY KEY (key, item)
);
CREATE INDEX attempts_by_expiry ON sync.attempts (expires);
