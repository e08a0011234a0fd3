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
    count(c.id) AS devices, max(c.last_sync) AS last_sync,
    EXISTS (SELECT 1 FROM sync.totp t WHERE t.user_id = u.id AND t.confirmed) AS second_factor
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

-- name: user_by_id
SELECT u.id, u.email, u.name, u.language, u.role, u.active, u.created_at, u.changed_at, u.email_key,
    (SELECT count(*) FROM sync.clients c WHERE c.user_id = u.id) AS devices,
    (SELECT max(c.last_sync) FROM sync.clients c WHERE c.user_id = u.id) AS last_sync,
    EXISTS (SELECT 1 FROM sync.totp t WHERE t.user_id = u.id AND t.confirmed) AS second_factor
FROM sync.users u
WHERE u.id = %(user_id)s;

-- name: id_of_email
SELECT id FROM sync.users WHERE email_key = %(email_key)s;

-- name: make_user
-- As create_user, with a role. No row when the address is taken.
INSERT INTO sync.users (id, space_id, email, email_key, name, language, password_hash, role)
VALUES (%(user_id)s, %(user_id)s, %(email)s, %(email_key)s, %(name)s, %(language)s, %(password_hash)s, %(role)s)
ON CONFLICT (email_key) DO NOTHING;

-- name: update_user
-- Whoever is locked stays out with whatever token they had, also when they are let in again.
UPDATE sync.users
SET name = %(name)s, language = %(language)s, role = %(role)s, active = %(active)s, changed_at = now(),
    token_epoch = token_epoch + CASE WHEN active AND NOT %(active)s THEN 1 ELSE 0 END
WHERE id = %(user_id)s;

-- name: void_tokens
UPDATE sync.users SET token_epoch = token_epoch + 1, changed_at = now() WHERE id = %(user_id)s;

-- name: has_owner
SELECT EXISTS (SELECT 1 FROM sync.users WHERE role = 'owner');

-- name: make_owner
UPDATE sync.users
SET role = 'owner', active = true, password_hash = %(password_hash)s, token_epoch = token_epoch + 1, changed_at = now()
WHERE id = %(user_id)s;

-- name: queue_mail
INSERT INTO sync.mails (id, user_id, template, details, created, expires, next_try)
SELECT %(mail_id)s, u.id, %(template)s, %(details)s, t.now, t.now + %(lifetime)s, t.now
FROM sync.users u, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) t
WHERE u.id = %(user_id)s
ON CONFLICT (id) DO NOTHING;
