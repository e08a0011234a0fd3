-- Only an addition, with a default: the version of the server before this one goes on working beside it.

-- The space's clock when the database was put back to a backup; 0: never. Cursors below it were given out before, so a device that
-- has one may hold what the server has lost: it is sent all that the server has.
ALTER TABLE sync.spaces ADD COLUMN restored bigint NOT NULL DEFAULT 0;
