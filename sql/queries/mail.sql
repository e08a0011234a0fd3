-- name: drop_expired_mails
-- Those that no process is about to send: a lease keeps next_try ahead of now.
DELETE FROM sync.mails
WHERE expires <= (extract(epoch FROM now()) * 1000)::bigint
    AND next_try <= (extract(epoch FROM now()) * 1000)::bigint
RETURNING id, template, tries, last_error;

-- name: claim_mail
-- The mail that has been due for longest, for one process alone: its next_try moves to the end of a lease, after which it is
-- due again, should the process have died. The row is chosen in a WITH, which runs once; in a subquery PostgreSQL may run it
-- several times and skip its own choice. next_try is compared again for databases that check a row only when they write it.
WITH due AS (
    SELECT id
    FROM sync.mails
    WHERE next_try <= (extract(epoch FROM now()) * 1000)::bigint
    ORDER BY next_try
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE sync.mails m
SET next_try = (extract(epoch FROM now()) * 1000)::bigint + %(lease)s, tries = m.tries + 1
FROM due, sync.users u
WHERE m.id = due.id AND m.next_try <= (extract(epoch FROM now()) * 1000)::bigint AND u.id = m.user_id
RETURNING m.id, m.template, m.details, m.expires - (extract(epoch FROM now()) * 1000)::bigint AS good_for, m.tries,
    u.email, u.name, u.language;

-- name: postpone_mail
-- tries tells whether the mail is still this process's own: whoever claimed it after the lease has counted on.
UPDATE sync.mails
SET next_try = least((extract(epoch FROM now()) * 1000)::bigint + %(pause)s, expires), tries = %(tries_counted)s, last_error = %(error)s
WHERE id = %(id)s AND tries = %(tries)s;

-- name: remove_mail
DELETE FROM sync.mails WHERE id = %(id)s;

-- name: next_mail
-- Milliseconds from now; no value when the queue is empty.
SELECT min(next_try) - (extract(epoch FROM now()) * 1000)::bigint FROM sync.mails;
