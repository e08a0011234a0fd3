-- name: users_by_email
-- One page of users. `search` is looked for in the address and the name; null filters let everything pass. The four statements
-- differ in their order. Those by address and by age walk an index; an index of names might not take a long one.
WITH page AS (
    SELECT id, row_number() OVER (ORDER BY email_key, id) AS place
    FROM sync.users
    WHERE (email_key, id) > (%(after)s::text, %(after_id)s::uuid)
        AND (%(search)s::text IS NULL OR strpos(email_key, %(search)s) > 0 OR strpos(lower(name), %(search)s) > 0)
        AND (%(role)s::text IS NULL OR role = %(role)s)
        AND (%(active)s::boolean IS NULL OR active = %(active)s)
    ORDER BY email_key, id
    LIMIT %(fetch)s
)
SELECT u.id, u.email, u.name, u.language, u.role, u.active, u.created_at, u.changed_at, u.email_key,
    count(c.id) AS devices, max(c.last_sync) AS last_sync
FROM page p
JOIN sync.users u ON u.id = p.id
LEFT JOIN sync.clients c ON c.user_id = u.id
GROUP BY u.id, p.place
ORDER BY p.place;

-- name: users_by_name
-- with the rest of users_by_email
WITH page AS (
    SELECT id, row_number() OVER (ORDER BY name, id) AS place
    FROM sync.users
    WHERE (name, id) > (%(after)s::text, %(after_id)s::uuid)
        AND (%(search)s::text IS NULL OR strpos(email_key, %(search)s) > 0 OR strpos(lower(name), %(search)s) > 0)
        AND (%(role)s::text IS NULL OR role = %(role)s)
        AND (%(active)s::boolean IS NULL OR active = %(active)s)
    ORDER BY name, id
    LIMIT %(fetch)s
)
SELECT * FROM page;

-- name: users_by_age
-- with the rest of users_by_email
WITH page AS (
    SELECT id, row_number() OVER (ORDER BY created_at, id) AS place
    FROM sync.users
    WHERE (created_at, id) > (%(after)s::timestamptz, %(after_id)s::uuid)
        AND (%(search)s::text IS NULL OR strpos(email_key, %(search)s) > 0 OR strpos(lower(name), %(search)s) > 0)
        AND (%(role)s::text IS NULL OR role = %(role)s)
        AND (%(active)s::boolean IS NULL OR active = %(active)s)
    ORDER BY created_at, id
    LIMIT %(fetch)s
)
SELECT * FROM page;

-- name: users_by_age_newest_first
-- with the rest of users_by_email
WITH page AS (
    SELECT id, row_number() OVER (ORDER BY created_at DESC, id DESC) AS place
    FROM sync.users
    WHERE (created_at, id) < (%(after)s::timestamptz, %(after_id)s::uuid)
        AND (%(search)s::text IS NULL OR strpos(email_key, %(search)s) > 0 OR strpos(lower(name), %(search)s) > 0)
        AND (%(role)s::text IS NULL OR role = %(role)s)
        AND (%(active)s::boolean IS NULL OR active = %(active)s)
    ORDER BY created_at DESC, id DESC
    LIMIT %(fetch)s
)
SELECT * FROM page;

-- name: count_users
SELECT count(*)
FROM sync.users
WHERE (%(search)s::text IS NULL OR strpos(email_key, %(search)s) > 0 OR strpos(lower(name), %(search)s) > 0)
    AND (%(role)s::text IS NULL OR role = %(role)s)
    AND (%(active)s::boolean IS NULL OR active = %(active)s);
