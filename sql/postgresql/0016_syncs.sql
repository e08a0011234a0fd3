-- Applied with the migration of the same name, on PostgreSQL only. A commit that has changed only an unlogged table does not wait for the
-- disk; after a crash, or on a standby that takes over, the table is empty. A page is half empty, for the versions that updates leave.
ALTER TABLE sync.syncs SET UNLOGGED;
ALTER TABLE sync.syncs SET (fillfactor = 50);
-- Plans that are made just after a crash, when it is empty, read all of it, and are kept until it is analyzed. By default that would
-- be when a tenth of the lines that it had before the crash has changed.
ALTER TABLE sync.syncs SET (autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 500);
