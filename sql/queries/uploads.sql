-- name: lock_upload
-- The lock makes the parts of one upload arrive one after the other, so that exactly one of them finds it complete, whichever
-- workers they reach.
INSERT INTO sync.uploads (client_id, call, sync_id, chunks, touched)
VALUES (%(client_id)s, %(call)s, %(sync_id)s, %(chunks)s, (extract(epoch FROM now()) * 1000)::bigint)
ON CONFLICT (client_id, call, sync_id) DO UPDATE SET touched = excluded.touched
RETURNING chunks;

-- name: restart_upload
UPDATE sync.uploads SET chunks = %(chunks)s
WHERE client_id = %(client_id)s AND call = %(call)s AND sync_id = %(sync_id)s;

-- name: drop_parts
DELETE FROM sync.upload_parts
WHERE client_id = %(client_id)s AND call = %(call)s AND sync_id = %(sync_id)s;

-- name: stored_part
SELECT piece FROM sync.upload_parts
WHERE client_id = %(client_id)s AND call = %(call)s AND sync_id = %(sync_id)s AND chunk_index = %(chunk_index)s;

-- name: store_part
INSERT INTO sync.upload_parts (client_id, call, sync_id, chunk_index, piece)
VALUES (%(client_id)s, %(call)s, %(sync_id)s, %(chunk_index)s, %(piece)s)
ON CONFLICT (client_id, call, sync_id, chunk_index) DO NOTHING;

-- name: upload_progress
SELECT count(*) AS parts, coalesce(sum(octet_length(piece)), 0)::bigint AS bytes
FROM sync.upload_parts
WHERE client_id = %(client_id)s AND call = %(call)s AND sync_id = %(sync_id)s;

-- name: upload_pieces
SELECT piece FROM sync.upload_parts
WHERE client_id = %(client_id)s AND call = %(call)s AND sync_id = %(sync_id)s
ORDER BY chunk_index;

-- name: drop_surplus_uploads
-- The oldest make room, so that abandoned uploads never block a device.
DELETE FROM sync.uploads u
WHERE u.client_id = %(client_id)s AND (
    SELECT count(*) FROM sync.uploads newer
    WHERE newer.client_id = u.client_id AND (newer.touched, newer.call, newer.sync_id) > (u.touched, u.call, u.sync_id)
) >= %(most)s;
