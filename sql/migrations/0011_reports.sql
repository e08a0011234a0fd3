-- What devices did, reported by the servers every few seconds: a row per device, and sums by the hour. Times are ms since the epoch,
-- by the database's clock.
CREATE TABLE sync.device_status (
    client_id uuid PRIMARY KEY REFERENCES sync.clients (id) ON DELETE CASCADE,
    -- its latest call with a valid token
    seen bigint,
    -- its latest pull: the rows that it was sent
    pulled_at bigint,
    pulled bigint,
    -- its latest whole sync: the rows that it sent, and how long it took in ms
    synced_at bigint,
    pushed bigint,
    took bigint,
    -- rows of pushes since then, of a sync under way
    pushing bigint NOT NULL DEFAULT 0,
    -- its latest failure: the name of the refusal, the call
    error_at bigint,
    error text,
    error_call text
);

-- Which devices were there, by the day (when it began) and, as bits, its hours (UTC).
CREATE TABLE sync.activity (
    client_id uuid NOT NULL REFERENCES sync.clients (id) ON DELETE CASCADE,
    day bigint NOT NULL,
    hours bigint NOT NULL,
    PRIMARY KEY (client_id, day)
);

-- Sums by the hour (when it began): syncs, rows_in, rows_out … and refusals as error:<name>.
CREATE TABLE sync.stats (
    name text NOT NULL,
    hour bigint NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (name, hour)
);

-- Conflicts that nobody has looked at yet, and what is kept aside, newest first.
CREATE INDEX overridden_open ON sync.overridden (space_id, stamp) WHERE settled IS NULL;
CREATE INDEX kept_aside_open ON sync.kept_aside (user_id, received_at) WHERE settled IS NULL;
