-- name: queue_lengths
SELECT (SELECT count(*) FROM sync.mails) AS mails,
    coalesce((SELECT (extract(epoch FROM now()) * 1000)::bigint - min(created) FROM sync.mails), 0) AS oldest_mail,
    (SELECT count(*) FROM sync.uploads) AS uploads;

-- name: answers
-- Whether the database does.
SELECT 1;
