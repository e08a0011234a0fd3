-- Limits, and what is pruned. Only additions, with defaults: the version of the server before this one goes on working beside it.

-- The cursor that came with the client's latest pull: all up to it has reached the device. Goes down when a device is restored
-- from a backup. Null with first_stamp set: pulled before this was kept, so nothing is known of what the device has heard of.
ALTER TABLE sync.clients ADD COLUMN acknowledged bigint;

-- The highest stamp of a tombstone that was pruned. A device with a cursor below it needs them back (from the history).
ALTER TABLE sync.spaces ADD COLUMN pruned bigint NOT NULL DEFAULT 0;

-- What is pruned is found space by space; no index begins with a time, which all writers would push to the same end of it.
CREATE INDEX tombstones_by_stamp ON sync.rows (space_id, stamp) WHERE operation = 'D';
CREATE INDEX overridden_by_stamp ON sync.overridden (space_id, stamp);

-- For counting the syncs that are under way.
CREATE INDEX clients_syncing ON sync.clients (id) WHERE sync_started IS NOT NULL;

-- Changes that could not be stored as rows, so that the rest of their push could: for the operator.
CREATE TABLE sync.kept_aside (
    -- follows from the client and the change, so that a repeated push records it once (G5)
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES sync.users (id) ON DELETE CASCADE,
    client_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    -- what was wrong: a name for programs, a sentence for people, and the limit, where it was one
    reason text NOT NULL,
    detail text NOT NULL,
    most bigint,
    -- the length of the change as it was sent, in UTF-8
    bytes bigint NOT NULL,
    -- the change as it was sent, JSON; null where the user's share of kept data was used up
    change text
);
CREATE INDEX kept_aside_by_user ON sync.kept_aside (user_id);

-- Work that one process at a time does, and not before next_run (ms since the epoch, by the database's clock).
CREATE TABLE sync.chores (
    name text PRIMARY KEY,
    next_run bigint NOT NULL
);
INSERT INTO sync.chores (name, next_run) VALUES ('prune', 0);
