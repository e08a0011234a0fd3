-- Of the secrets that servers of this database sign with, and when a server with them was last there (ms since the epoch, by the
-- database's clock).
CREATE TABLE sync.fingerprints (
    fingerprint text PRIMARY KEY,
    seen bigint NOT NULL
);
