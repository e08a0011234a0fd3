-- The stamp of the client's own latest push that came to a space which nobody else had changed since its cursor: while the space's
-- clock is no further, nobody has (push_quietly). One of an earlier sync is not above sync_to, and says nothing.
ALTER TABLE sync.syncs ADD COLUMN pushed_to bigint;
