-- The stamp of the client's own latest push in the sync under way that came to a space which nobody else had changed since its cursor:
-- while the space's clock is no further, nobody has (push_quietly). None when a sync begins, and where none is under way it says nothing.
ALTER TABLE sync.syncs ADD COLUMN pushed_to bigint;
