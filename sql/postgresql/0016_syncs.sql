-- Applied with the migration of the same name, on PostgreSQL only. A commit that has changed only an unlogged table does not wait for the
-- disk; after a crash, or on a standby that takes over, the table is empty. A page is half empty, for the versions that updates leave.
ALTER TABLE sync.syncs SET UNLOGGED;
ALTER TABLE sync.syncs SET (fillfactor = 50);
