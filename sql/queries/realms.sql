-- name: size_of_database
-- In bytes, with whatever else is in it. Not to be asked of CockroachDB.
SELECT pg_database_size(current_database());

-- name: count_accounts
SELECT (SELECT count(*) FROM sync.users) AS users, (SELECT count(*) FROM sync.clients) AS clients,
    (SELECT count(*) FROM sync.syncs WHERE sync_started IS NOT NULL) AS syncing,
    (SELECT count(*) FROM sync.mails) AS mails;

-- name: count_open
-- What waits for somebody to look at it.
SELECT (SELECT count(*) FROM sync.overridden WHERE settled IS NULL) AS open_overridden,
    (SELECT count(*) FROM sync.kept_aside WHERE settled IS NULL) AS open_kept_aside;

-- name: count_rows
SELECT (SELECT count(*) FROM sync.rows WHERE operation <> 'D') AS rows,
    (SELECT count(*) FROM sync.overridden) AS overridden, (SELECT count(*) FROM sync.kept_aside) AS kept_aside;
