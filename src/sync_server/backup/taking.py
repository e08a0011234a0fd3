"""Taking a backup: one snapshot of the realm's tables, while devices sync."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from importlib.metadata import version
from typing import IO, Any, Protocol

import psycopg
from psycopg import sql

from sync_server import diagnosis, migrations
from sync_server.backup.archive import BackupError, Count, Head, Writer
from sync_server.backup.tables import AS_TEXT, LEFT_OUT, TABLES, Column, existing
from sync_server.database import on_cockroachdb
from sync_server.migrations import PATIENCE, Connection

_SKEW = 1.0
"""Seconds by which the clocks of CockroachDB's nodes may differ, and more: what was committed before is in the snapshot."""
_STEP = 1000


class Progress(Protocol):
    """Told how many rows there are, and of so many more that are done."""

    def begin(self, total: int) -> None: ...
    def advance(self, number: int) -> None: ...


def take(
    realm: str, schema: str, url: str, stream: IO[bytes], progress: Progress, *, history: str | None = None
) -> dict[str, Count]:
    """Write a backup of the realm to `stream`; what it holds. `history`: the realm's setting. Changes nothing.

    Raises BackupError.
    """
    try:
        with migrations.connect(url) as connection, snapshot(connection):
            columns = _columns(connection, schema)
            head = _head(connection, realm, schema, [table for table in TABLES if table in columns], history)
            progress.begin(head.rows)
            writer = Writer(stream, head)
            counts = {
                table: writer.table(table, columns[table], rows_of(connection, schema, table, columns[table], progress))
                for table in TABLES
                if table in columns
            }
            writer.end()
    except psycopg.Error as exc:
        raise BackupError(f"the database cannot be read: {diagnosis.explain(exc)}") from exc
    return counts


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Everything that the block reads is as it was at one moment, at its beginning. No writer waits for it."""
    if on_cockroachdb(connection):
        time.sleep(_SKEW)
        connection.execute("BEGIN AS OF SYSTEM TIME '-100ms'")
        yield
        connection.execute("COMMIT")
        return
    connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    with connection.transaction():
        connection.execute(PATIENCE)
        yield


def rows_of(
    connection: Connection, schema: str, table: str, columns: Sequence[Column], progress: Progress | None = None
) -> Iterator[tuple[Any, ...]]:
    """A table's rows, one by one as the database sends them."""
    wanted = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(column.name))
        if column.type in AS_TEXT
        else sql.Identifier(column.name)
        for column in columns
    )
    query = sql.SQL("SELECT {} FROM {}").format(wanted, sql.Identifier(schema, table))
    connection.execute("SET LOCAL TIME ZONE 'UTC'")
    with connection.cursor() as cursor:
        for number, row in enumerate(cursor.stream(query, binary=True), start=1):
            if progress is not None and number % _STEP == 0:
                progress.advance(_STEP)
            yield row


def _columns(connection: Connection, schema: str) -> dict[str, list[Column]]:
    found = existing(connection, schema)
    if "spaces" not in found:
        raise BackupError(f"the database has no tables of a sync-server in the schema {schema}")
    if strange := found.keys() - set(TABLES) - LEFT_OUT.keys():
        raise BackupError(f"the database is of a newer sync-server ({', '.join(sorted(strange))}): use that version")
    return found


def _head(connection: Connection, realm: str, schema: str, tables: Sequence[str], history: str | None) -> Head:
    applied = sql.SQL("SELECT name FROM {} WHERE version > 0 ORDER BY version").format(
        sql.Identifier(schema, "migrations")
    )
    count = sql.SQL("SELECT count(*) FROM {}")
    rows = [connection.execute(count.format(sql.Identifier(schema, table))).fetchall()[0][0] for table in tables]
    found = connection.execute("SELECT now(), version()").fetchone()
    assert found is not None  # noqa: S101 - a SELECT without a table
    return Head(
        realm=realm,
        server=version("sync-server"),
        database=" ".join(found[1].split()[:2]),
        taken_at=found[0].astimezone(UTC).isoformat(timespec="milliseconds"),
        migrations=[name for (name,) in connection.execute(applied)],
        rows=sum(rows),
        history=history,
    )
