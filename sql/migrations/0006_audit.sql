-- The audit log: who did what. Lines are chained by hash: one chain for what is done by admins (its id is zero), and one per space for
-- the pushes to it where the realm says "history": "full". docs/audit.md says what a hash covers.

CREATE TABLE sync.audit_lines (
    -- the space of a push
    chain_id uuid NOT NULL,
    -- its place in the chain, from 1 on, without gaps
    number bigint NOT NULL,
    -- 0 to 15, so that lines are found by their time through an index that does not grow at one end
    bucket integer NOT NULL,
    -- ms since the epoch, by the database's clock
    at bigint NOT NULL,
    -- what was done, such as user.update, and to what
    action text NOT NULL,
    entity text NOT NULL,
    entity_id text NOT NULL DEFAULT '',
    -- of a push: its changes are the history's lines with this stamp, and so many
    stamp bigint,
    changes bigint,
    -- who did it: the account, its realm and role, the device, and by which way
    user_id uuid,
    realm text,
    role text,
    client_id uuid,
    via text NOT NULL,
    request_id text,
    -- salted digests of what stands in audit_details or in the history
    content_digest text NOT NULL,
    address_digest text NOT NULL,
    -- of this line and the hash of the one before
    hash text NOT NULL,
    PRIMARY KEY (chain_id, number)
);
CREATE INDEX audit_lines_by_time ON sync.audit_lines (bucket, at, chain_id, number);
CREATE INDEX audit_lines_by_user ON sync.audit_lines (user_id, at, chain_id, number);
CREATE INDEX audit_lines_by_entity ON sync.audit_lines (entity_id, at, chain_id, number);

-- What is personal of a line, so that it can be erased while the chain stays whole.
CREATE TABLE sync.audit_details (
    chain_id uuid NOT NULL,
    number bigint NOT NULL,
    -- whose content it is, and whose address
    subject_id uuid,
    user_id uuid,
    -- old and new values, JSON; of a push they are in the history
    content text,
    content_salt text,
    address text,
    address_salt text,
    PRIMARY KEY (chain_id, number)
);
CREATE INDEX audit_details_by_subject ON sync.audit_details (subject_id);
CREATE INDEX audit_details_by_user ON sync.audit_details (user_id);

-- The end of each chain, so that it shows when lines are missing there. That of a space is in spaces while there is the space.
CREATE TABLE sync.audit_chains (
    chain_id uuid PRIMARY KEY,
    number bigint NOT NULL,
    hash text NOT NULL,
    -- the last line that retention has removed
    pruned bigint NOT NULL DEFAULT 0,
    pruned_hash text NOT NULL DEFAULT ''
);
ALTER TABLE sync.spaces ADD COLUMN audit_number bigint NOT NULL DEFAULT 0;
ALTER TABLE sync.spaces ADD COLUMN audit_hash text NOT NULL DEFAULT '';

-- What a change replaced, where the history does not say it already: kept with "history": "full".
ALTER TABLE sync.history ADD COLUMN old_data text;
