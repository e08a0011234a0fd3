-- Statements of taking over a sync_server_ts database. Its tables are named public.…, only read, and o is always its users,
-- whose columns differ: o.id, o.name and o.language stand for what the database has (old.py).

-- name: now
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now;

-- name: begin_adoption
INSERT INTO sync.adoptions (id) VALUES (%(id)s);

-- name: finish_adoptions
-- Whatever was begun and killed is done, too.
UPDATE sync.adoptions SET finished_at = now() WHERE finished_at IS NULL;

-- name: keep_report
UPDATE sync.adoptions SET report = %(report)s WHERE id = %(id)s;

-- name: adoption_stands
-- Whether a first start has anything to take over: nothing was ever begun and nobody has registered, or a run was killed.
SELECT CASE
    WHEN EXISTS (SELECT 1 FROM sync.adoptions WHERE finished_at IS NULL) THEN true
    WHEN EXISTS (SELECT 1 FROM sync.adoptions) THEN false
    ELSE NOT EXISTS (SELECT 1 FROM sync.users)
END;

-- name: old_users_after
SELECT o.id AS user_id, o.email, o.password, o.salt FROM public.users o
WHERE o.id > %(after)s
ORDER BY o.id
LIMIT %(most)s;

-- name: note_users
-- Of whom has been forgotten here nothing is noted again: their address is empty.
INSERT INTO sync.adopted_users AS a (user_id, email_key, password_digest)
SELECT * FROM unnest(%(user_ids)s::uuid[], %(email_keys)s::text[], %(digests)s::text[]) AS noted (user_id, email_key, digest)
ON CONFLICT (user_id) DO UPDATE
SET email_key = excluded.email_key, password_digest = excluded.password_digest
WHERE a.email_key <> '' AND (a.email_key <> excluded.email_key OR a.password_digest <> excluded.password_digest);

-- name: follow_addresses
-- An address that was changed in the old table is changed here, unless it belongs to somebody.
UPDATE sync.users u
SET email = trim(o.email), email_key = a.email_key, changed_at = now()
FROM sync.adopted_users a, public.users o
WHERE a.user_id = u.id AND o.id = u.id AND a.outcome = 'adopted' AND a.email_key <> a.taken_email_key
    AND u.email_key = a.taken_email_key
    AND NOT EXISTS (SELECT 1 FROM sync.users other WHERE other.email_key = a.email_key)
    AND NOT EXISTS (
        SELECT 1 FROM sync.adopted_users twin
        WHERE twin.email_key = a.email_key AND twin.user_id < a.user_id AND twin.outcome = 'adopted'
            AND twin.email_key <> twin.taken_email_key
    );

-- name: note_addresses
UPDATE sync.adopted_users a
SET taken_email_key = u.email_key
FROM sync.users u
WHERE u.id = a.user_id AND a.outcome = 'adopted' AND a.taken_email_key <> u.email_key AND a.email_key = u.email_key;

-- name: choose_users
-- Of several old accounts whose addresses differ only in case, the one whose device synced last gets the address.
UPDATE sync.adopted_users a
SET outcome = CASE
    WHEN ranked.place > 1 OR EXISTS (SELECT 1 FROM sync.users u WHERE u.email_key = a.email_key) THEN 'waiting'
    ELSE 'chosen'
END
FROM (
    SELECT c.user_id, row_number() OVER (
        PARTITION BY c.email_key ORDER BY coalesce(synced.latest, 0) DESC, c.user_id
    ) AS place
    FROM sync.adopted_users c
    JOIN public.users o ON o.id = c.user_id
    LEFT JOIN (SELECT userid, max(lastsync) AS latest FROM public.user_clients GROUP BY userid) synced
        ON synced.userid = c.user_id
    WHERE c.outcome <> 'adopted'
) ranked
WHERE ranked.user_id = a.user_id;

-- name: forget_contents
DELETE FROM sync.adopted_contents;

-- name: find_contents
-- One pass over the log finds the guids of several rows; the content is of the row whose I or U has the highest id.
INSERT INTO sync.adopted_contents (rowguid, user_id, tablename)
SELECT DISTINCT ON (l.rowguid) l.rowguid, l.userid, l.tablename
FROM public.sync_data l
JOIN (
    SELECT rowguid FROM public.sync_data
    GROUP BY rowguid
    HAVING min(userid::text) <> max(userid::text) OR min(tablename) <> max(tablename)
) shared ON shared.rowguid = l.rowguid
WHERE upper(l.operation) <> 'D'
ORDER BY l.rowguid, l.id DESC;

-- name: settled_line
-- All lines up to it have been visible for long.
SELECT coalesce(max(id), 0) AS line FROM public.sync_data WHERE serverdate <= %(settled)s;

-- name: find_newer_contents
-- Contents of these users' guids that the old server has given to other rows since find_contents, which looked at all lines
-- up to looked_at. A guid's highest I or U is among the later ones if any is.
INSERT INTO sync.adopted_contents (rowguid, user_id, tablename)
SELECT DISTINCT ON (l.rowguid) l.rowguid, l.userid, l.tablename
FROM public.sync_data l
WHERE l.id > %(looked_at)s AND upper(l.operation) <> 'D' AND l.rowguid IN (
    SELECT own.rowguid
    FROM public.sync_data own
    JOIN public.sync_data later ON later.rowguid = own.rowguid AND later.id > %(looked_at)s AND upper(later.operation) <> 'D'
    WHERE own.userid = ANY(%(users)s::uuid[]) AND (later.userid <> own.userid OR later.tablename <> own.tablename)
)
ORDER BY l.rowguid, l.id DESC
ON CONFLICT (rowguid) DO UPDATE SET user_id = excluded.user_id, tablename = excluded.tablename;

-- name: users_with_news
-- Accounts to be taken over, and those for which the old server has done something since, unless it has removed them.
SELECT a.user_id, coalesce(log.lines, 0) AS lines
FROM sync.adopted_users a
JOIN public.users o ON o.id = a.user_id
LEFT JOIN (SELECT userid, count(*) AS lines, max(id) AS last_line FROM public.sync_data GROUP BY userid) log
    ON log.userid = a.user_id
LEFT JOIN (
    SELECT userid, count(*) AS clients, sum(coalesce(lastsync, 0))::numeric AS cursors FROM public.user_clients GROUP BY userid
) devices ON devices.userid = a.user_id
WHERE a.outcome = 'chosen' OR a.outcome = 'adopted' AND (
    a.lines <> coalesce(log.lines, 0) OR a.last_line <> coalesce(log.last_line, 0)
    OR a.clients <> coalesce(devices.clients, 0) OR a.cursors <> coalesce(devices.cursors, 0)
    OR a.password_digest <> a.taken_password_digest
)
ORDER BY a.user_id;

-- name: lock_adopted_users
-- Two runs at the same time take one account after the other; the second one finds it done.
SELECT user_id FROM sync.adopted_users
WHERE user_id = ANY(%(users)s::uuid[]) AND outcome IN ('chosen', 'adopted')
ORDER BY user_id
FOR UPDATE;

-- name: make_spaces
INSERT INTO sync.spaces (id)
SELECT user_id FROM sync.adopted_users
WHERE user_id = ANY(%(users)s::uuid[]) AND outcome = 'chosen'
ON CONFLICT (id) DO NOTHING;

-- name: make_users
INSERT INTO sync.users (id, space_id, email, email_key, name, language, password_hash)
SELECT a.user_id, a.user_id, trim(o.email), a.email_key, coalesce(o.name, ''), nullif(trim(o.language), ''),
    'sha512$' || o.salt || '$' || lower(o.password)
FROM sync.adopted_users a
JOIN public.users o ON o.id = a.user_id
WHERE a.user_id = ANY(%(users)s::uuid[]) AND a.outcome = 'chosen'
ON CONFLICT DO NOTHING;

-- name: note_made_users
-- Somebody may have registered the address meanwhile.
UPDATE sync.adopted_users a
SET outcome = CASE WHEN EXISTS (SELECT 1 FROM sync.users u WHERE u.id = a.user_id) THEN 'adopted' ELSE 'waiting' END,
    taken_email_key = a.email_key, taken_password_digest = a.password_digest
WHERE a.user_id = ANY(%(users)s::uuid[]) AND a.outcome = 'chosen';

-- name: drop_unused_spaces
DELETE FROM sync.spaces s
WHERE s.id = ANY(%(users)s::uuid[]) AND NOT EXISTS (SELECT 1 FROM sync.users u WHERE u.space_id = s.id);

-- name: follow_passwords
-- After find_password_conflicts. Those that were changed there, unless they were changed here as well. Devices log in again with the one they store.
UPDATE sync.users u
SET password_hash = 'sha512$' || o.salt || '$' || lower(o.password), token_epoch = u.token_epoch + 1, changed_at = now()
FROM sync.adopted_users a, public.users o
WHERE a.user_id = u.id AND o.id = u.id AND u.id = ANY(%(users)s::uuid[]) AND a.outcome = 'adopted'
    AND a.password_digest <> a.taken_password_digest AND u.token_epoch = a.token_epoch;

-- name: find_password_conflicts
INSERT INTO sync.adoption_findings (user_id, kind)
SELECT a.user_id, 'password_changed_on_both'
FROM sync.adopted_users a
JOIN sync.users u ON u.id = a.user_id
WHERE a.user_id = ANY(%(users)s::uuid[]) AND a.outcome = 'adopted'
    AND a.password_digest <> a.taken_password_digest AND u.token_epoch <> a.token_epoch;

-- name: note_passwords
UPDATE sync.adopted_users a
SET taken_password_digest = a.password_digest,
    token_epoch = CASE
        WHEN u.password_hash = 'sha512$' || o.salt || '$' || lower(o.password) THEN u.token_epoch ELSE a.token_epoch
    END
FROM sync.users u, public.users o
WHERE u.id = a.user_id AND o.id = a.user_id AND a.user_id = ANY(%(users)s::uuid[]) AND a.outcome = 'adopted'
    AND a.password_digest <> a.taken_password_digest;

-- name: make_clients
-- A client that has synced needs the deletes (first_stamp 0), also one whose first sync was broken off: it may hold rows. One
-- that never has needs none. Clients that left here stay away.
INSERT INTO sync.clients (id, user_id, details, session, first_stamp, last_sync)
SELECT c.clientid, c.userid, coalesce(c.clientdetails::text, ''), %(now)s,
    CASE
        WHEN c.lastsync > 0 OR c.syncing IS NOT NULL
            OR EXISTS (SELECT 1 FROM public.sync_data l WHERE l.userid = c.userid AND l.clientid = c.clientid)
            THEN 0
    END,
    c.lastsync
FROM public.user_clients c
JOIN sync.adopted_users a ON a.user_id = c.userid AND a.outcome = 'adopted'
JOIN sync.users u ON u.id = c.userid
WHERE c.userid = ANY(%(users)s::uuid[])
    AND NOT EXISTS (SELECT 1 FROM sync.adopted_clients known WHERE known.client_id = c.clientid)
ON CONFLICT (id) DO NOTHING;

-- name: follow_clients
-- Those that first synced with the old server, or began to, after they had been taken over need the deletes, too.
UPDATE sync.clients here
SET first_stamp = 0
FROM public.user_clients c
WHERE here.id = c.clientid AND here.user_id = c.userid AND c.userid = ANY(%(users)s::uuid[])
    AND (c.lastsync > 0 OR c.syncing IS NOT NULL)
    AND coalesce(here.first_stamp, 1) > 0
    AND EXISTS (SELECT 1 FROM sync.adopted_clients known WHERE known.client_id = c.clientid AND known.last_sync = 0);

-- name: note_clients
INSERT INTO sync.adopted_clients AS known (client_id, user_id, last_sync)
SELECT c.clientid, c.userid, coalesce(c.lastsync, 0)
FROM public.user_clients c
JOIN sync.users u ON u.id = c.userid
WHERE c.userid = ANY(%(users)s::uuid[])
ON CONFLICT (client_id) DO UPDATE SET last_sync = excluded.last_sync WHERE known.last_sync <> excluded.last_sync;
