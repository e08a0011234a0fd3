-- name: forget_findings
-- What is found anew. A password that was changed on both servers is only seen once.
DELETE FROM sync.adoption_findings
WHERE user_id = ANY(%(users)s::uuid[]) AND kind <> 'password_changed_on_both';

-- name: find_rows
-- Rows of the log that are not here, and why. A row of which the content was another row's is here if it was taken over before.
WITH left_out AS MATERIALIZED (
    SELECT n.userid, n.clientid, n.tablename, n.rowguid::text AS rowguid, u.space_id, CASE
        WHEN n.operation NOT IN ('I', 'U') THEN 'unknown_operation'
        WHEN d.rowguid IS NULL OR jsonb_typeof(d.json) <> 'object' THEN 'no_content'
        WHEN shared.user_id <> n.userid THEN 'content_of_another_user'
        WHEN shared.tablename <> n.tablename THEN 'content_of_another_table'
    END AS kind
    FROM (
        SELECT DISTINCT ON (userid, tablename, rowguid) userid, tablename, rowguid, clientid, upper(operation) AS operation
        FROM public.sync_data
        WHERE userid = ANY(%(users)s::uuid[])
        ORDER BY userid, tablename, rowguid, id DESC
    ) n
    JOIN sync.users u ON u.id = n.userid
    LEFT JOIN public.data d ON d.rowguid = n.rowguid
    LEFT JOIN sync.adopted_contents shared ON shared.rowguid = n.rowguid
    WHERE n.operation <> 'D'
)
INSERT INTO sync.adoption_findings (user_id, kind, client_id, tablename, rowguid)
SELECT userid, kind, clientid, tablename, rowguid
FROM left_out o
-- PostgreSQL expects few rows of a list, and so looks for each; there are few
WHERE kind IN ('unknown_operation', 'no_content', 'content_of_another_user', 'content_of_another_table') AND NOT EXISTS (
    SELECT 1 FROM sync.rows r
    WHERE r.space_id = o.space_id AND r.tablename = o.tablename AND r.rowguid IN (o.rowguid, upper(o.rowguid))
);

-- name: find_clients
INSERT INTO sync.adoption_findings (user_id, kind, client_id)
SELECT c.userid, 'client_of_another_user', c.clientid
FROM public.user_clients c
JOIN sync.clients here ON here.id = c.clientid
JOIN sync.adopted_users a ON a.user_id = c.userid AND a.outcome = 'adopted'
WHERE c.userid = ANY(%(users)s::uuid[]) AND here.user_id <> c.userid;

-- name: find_passwords
INSERT INTO sync.adoption_findings (user_id, kind)
SELECT o.id, 'unusable_password'
FROM public.users o
JOIN sync.users u ON u.id = o.id
WHERE o.id = ANY(%(users)s::uuid[]) AND length(o.password) <> 128;

-- name: forget_waiting
DELETE FROM sync.adoption_findings WHERE kind IN ('address_differs_in_case', 'address_in_use');

-- name: find_waiting
INSERT INTO sync.adoption_findings (user_id, kind)
SELECT a.user_id, CASE
        WHEN u.id IS NOT NULL AND holder.user_id IS NULL THEN 'address_in_use' ELSE 'address_differs_in_case'
    END
FROM sync.adopted_users a
JOIN public.users o ON o.id = a.user_id
LEFT JOIN sync.users u ON u.email_key = a.email_key
LEFT JOIN sync.adopted_users holder ON holder.user_id = u.id AND holder.outcome = 'adopted'
WHERE a.outcome = 'waiting';

-- name: count_findings
SELECT kind, count(*) AS number FROM sync.adoption_findings GROUP BY kind ORDER BY kind;

-- name: list_findings
SELECT kind, user_id::text AS user_id, client_id::text AS client_id, tablename, rowguid
FROM sync.adoption_findings
ORDER BY kind, user_id, tablename, rowguid, client_id
LIMIT %(most)s;

-- name: count_strangers
-- What belongs to nobody.
SELECT
    (SELECT count(*) FROM public.sync_data l WHERE NOT EXISTS (SELECT 1 FROM public.users o WHERE o.id = l.userid))
        AS lines_without_user,
    (SELECT count(*) FROM public.user_clients c WHERE NOT EXISTS (SELECT 1 FROM public.users o WHERE o.id = c.userid))
        AS clients_without_user,
    (SELECT count(*) FROM public.data d WHERE NOT EXISTS (SELECT 1 FROM public.sync_data l WHERE l.rowguid = d.rowguid))
        AS contents_without_line;

-- name: count_accounts
SELECT count(*) AS users,
    coalesce(sum(CASE WHEN a.outcome = 'adopted' AND u.id IS NOT NULL THEN 1 ELSE 0 END), 0)::bigint AS adopted,
    coalesce(sum(CASE WHEN a.outcome = 'adopted' AND u.id IS NULL THEN 1 ELSE 0 END), 0)::bigint AS left_since
FROM sync.adopted_users a
LEFT JOIN sync.users u ON u.id = a.user_id;
