-- After a backup has been restored: devices may have got further than it, with stamps, tokens and syncs that the database does not
-- know any more. Times are the database's, and a margin: the one that was lost may have been ahead.

-- name: put_back_spaces
-- Stamps go on beyond all that were ever handed out; a device with a cursor below is sent everything once.
UPDATE sync.spaces
SET clock = greatest(clock, (extract(epoch FROM now()) * 1000)::bigint) + %(margin)s,
    restored = greatest(clock, (extract(epoch FROM now()) * 1000)::bigint) + %(margin)s;

-- name: put_back_clients
-- Tokens may have been revoked in the time that was lost: all are void, and devices log in with their passwords. Nothing is known
-- any more of what they have heard of, so no tombstone goes before they say.
-- One that says nothing of what it has may have pulled since, rows even that are deleted here, and is sent tombstones, too.
UPDATE sync.clients
SET session = greatest(session, (extract(epoch FROM now()) * 1000)::bigint) + %(margin)s,
    refresh_id = NULL, refresh_previous = NULL, push_digest = NULL, push_answer = NULL,
    acknowledged = 0, first_stamp = 0;

-- name: put_back_syncs
-- None is under way, and numbers begin anew.
DELETE FROM sync.syncs;

-- name: put_back_sessions
-- Those of the admin API, which may have ended since, as may the roles and accounts that they rest on.
DELETE FROM sync.admin_sessions;
