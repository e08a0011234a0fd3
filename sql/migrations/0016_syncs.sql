-- Syncs move out of sync.clients, whose columns for them are left to servers of the version before this one. Each version knows its
-- own syncs only: stop those of the version before (docs/high-availability.md).

-- What is remembered of each client's syncs between their calls. Nothing here must outlast a crash of the database (on PostgreSQL it
-- does not): a sync that is not known any more begins anew, and calls that belonged to it are told by their tokens.
CREATE TABLE sync.syncs (
    client_id uuid PRIMARY KEY REFERENCES sync.clients (id) ON DELETE CASCADE,
    -- Drawn by lot. A token with a number below it, or beyond sync_number, is of before a crash: no pull with it may begin a sync.
    first_number bigint NOT NULL,
    sync_number bigint NOT NULL,
    -- the sync under way, if any
    sync_from bigint,
    sync_to bigint,
    sync_started bigint,
    sync_digest text,
    sync_token text
);
