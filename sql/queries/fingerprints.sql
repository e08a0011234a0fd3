-- Servers of one database must sign with the same secrets. Each leaves their fingerprint at its start, and while it is used.

-- name: recent_fingerprints
-- Of the last two hours, and how long ago (ms) each was left: a server whose realm is used leaves one in less.
SELECT fingerprint, (extract(epoch FROM now()) * 1000)::bigint - seen AS ago
FROM sync.fingerprints
WHERE seen > (extract(epoch FROM now()) * 1000)::bigint - 7200000;

-- name: leave_fingerprint
INSERT INTO sync.fingerprints (fingerprint, seen)
VALUES (%(fingerprint)s, (extract(epoch FROM now()) * 1000)::bigint)
ON CONFLICT (fingerprint) DO UPDATE SET seen = excluded.seen;
