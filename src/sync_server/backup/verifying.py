"""Verifying a backup: it is restored into a scratch schema, and what is there then is compared with what was written."""

from __future__ import annotations

import secrets
from typing import IO

import psycopg
from psycopg import sql

from sync_server import diagnosis, migrations
from sync_server.backup.archive import BackupError, Digest, Reader, lines
from sync_server.backup.restoring import restore
from sync_server.backup.tables import existing, in_order_of
from sync_server.backup.taking import Progress, rows_of, snapshot
from sync_server.migrations import Connection


def verify(url: str, stream: IO[bytes], progress: Progress) -> Reader:
    """Restore the backup into a schema of its own, compare, and drop it again; what was restored. Raises BackupError."""
    schema = f"verify_{secrets.token_hex(6)}"
    try:
        restored = restore(schema, url, stream, progress, as_it_was=True)
        with migrations.connect(url) as connection, snapshot(connection):
            different = _different(connection, schema, restored)
    except psycopg.Error as exc:
        raise BackupError(f"the scratch database cannot be read: {diagnosis.explain(exc)}") from exc
    finally:
        _drop(url, schema)
    if different:
        raise BackupError(f"what was restored differs from what was written: {', '.join(different)}")
    return restored


def _different(connection: Connection, schema: str, backup: Reader) -> list[str]:
    there = existing(connection, schema)
    different = []
    for table, count in backup.counts.items():
        columns = in_order_of(backup.columns[table], there[table])
        digest = Digest()
        for line in lines(rows_of(connection, schema, table, columns)):
            digest.add(line)
        if digest.count != count:
            different.append(table)
    return different


def _drop(url: str, schema: str) -> None:
    with migrations.connect(url) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
