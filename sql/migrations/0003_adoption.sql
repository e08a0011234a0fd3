-- The books of taking over a sync_server_ts database: what was taken, so that a later run takes what came since.

-- One line per run. finished_at is null while it runs, and when it was killed: the next start goes on with it.
CREATE TABLE sync.adoptions (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    -- JSON, for the operator
    report text
);

CREATE TABLE sync.adopted_users (
    user_id uuid PRIMARY KEY,
    -- new: not looked at yet; chosen: to be taken over; adopted; waiting: its address belongs to another account
    outcome text NOT NULL DEFAULT 'new',
    -- as they stand in the old table: the address as it is compared, a digest of salt and password
    email_key text NOT NULL,
    password_digest text NOT NULL,
    -- as they were taken over; token_epoch has moved on when the password was changed here since
    taken_email_key text,
    taken_password_digest text,
    token_epoch bigint NOT NULL DEFAULT 0,
    -- what tells whether the old server has written since: number and highest id of the log's lines, number and sum of cursors
    lines bigint NOT NULL DEFAULT -1,
    last_line bigint NOT NULL DEFAULT -1,
    clients bigint NOT NULL DEFAULT -1,
    cursors numeric NOT NULL DEFAULT -1,
    -- lines up to this id have been taken over; of later ones those in adopted_lines
    settled_line bigint NOT NULL DEFAULT 0,
    -- the space's clock when the user was last taken over: it moves on with the first push here
    clock bigint NOT NULL DEFAULT 0
);
CREATE INDEX adopted_users_by_email_key ON sync.adopted_users (email_key);

CREATE TABLE sync.adopted_clients (
    client_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    -- the highest cursor that the old server had given to the client
    last_sync bigint NOT NULL
);
CREATE INDEX adopted_clients_by_user ON sync.adopted_clients (user_id);

-- Lines of the old log that were young when they were taken over: one with a lower id might still come.
CREATE TABLE sync.adopted_lines (
    user_id uuid NOT NULL,
    line bigint NOT NULL,
    PRIMARY KEY (user_id, line)
);

-- Guids of more than one row (of two users, or in two tables): the one content that the old server kept is of the row that
-- was pushed last.
CREATE TABLE sync.adopted_contents (
    rowguid uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    tablename text NOT NULL
);

-- What could not be taken over.
CREATE TABLE sync.adoption_findings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    kind text NOT NULL,
    client_id uuid,
    tablename text,
    rowguid text
);
CREATE INDEX adoption_findings_by_user ON sync.adoption_findings (user_id);
