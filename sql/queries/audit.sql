-- name: begin_audit_line
-- The next number of a chain, and the hash of the line before it; the lock lets lines follow one another.
INSERT INTO sync.audit_chains AS c (chain_id, number, hash)
VALUES (%(chain_id)s, 1, '')
ON CONFLICT (chain_id) DO UPDATE SET number = c.number + 1
RETURNING c.number, c.hash, (extract(epoch FROM now()) * 1000)::bigint AS at;

-- name: end_audit_line
WITH line AS (
    INSERT INTO sync.audit_lines
        (chain_id, number, bucket, at, action, entity, entity_id, user_id, realm, role, client_id, via, request_id,
        content_digest, address_digest, hash)
    VALUES (%(chain_id)s, %(number)s, %(bucket)s, %(at)s, %(action)s, %(entity)s, %(entity_id)s, %(user_id)s, %(realm)s,
        %(role)s, %(client_id)s, %(via)s, %(request_id)s, %(content_digest)s, %(address_digest)s, %(hash)s)
    RETURNING 1
),
details AS (
    INSERT INTO sync.audit_details
        (chain_id, number, subject_id, user_id, content, content_salt, address, address_salt)
    VALUES (%(chain_id)s, %(number)s, %(subject_id)s, %(user_id)s, %(content)s, %(content_salt)s, %(address)s,
        %(address_salt)s)
    RETURNING 1
)
UPDATE sync.audit_chains SET hash = %(hash)s WHERE chain_id = %(chain_id)s;
