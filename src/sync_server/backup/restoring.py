"""Restoring a backup into a realm that has nothing yet."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any, cast

import psycopg
from psycopg import sql

from sync_server import diagnosis, migrations
from sync_server.backup.archive import BackupError, Count, Reader
from sync_server.backup.tables import ACCOUNTS, BULK, SUMS, TABLES, Column, existing, in_order_of
from sync_server.backup.taking import Progress
from sync_server.database import Tx, on_cockroachdb, queries
from sync_server.migrations import PATIENCE, Connection, MigrationError
from sync_server.statements import Blocking

_ROWS = 2000
_BYTES = 4 * 1024 * 1024
"""Of rows in one statement, whichever comes first."""
MARGIN = 5 * 60_000
"""Milliseconds by which the clock of the database that was lost may have been ahead of this one's."""


def restore(
    schema: str,
    url: str,
    stream: IO[bytes],
    progress: Progress,
    *,
    as_it_was: bool = False,
    end: Callable[[Tx, Reader], Coroutine[Any, Any, None]] | None = None,
) -> Reader:
    """Restore the backup in `stream` into the database, which must have nothing of the realm; what was restored.

    All or nothing. Devices that have synced after the backup was taken hold what it does not know: every token is voided,
    so that they log in, and each is sent everything once (engine.py). `as_it_was`: without that, to compare.
    `end`: what is done last, in the same transaction.
    Raises BackupError.
    """
    try:
        backup = Reader(stream)
        _check_version(backup)
        progress.begin(backup.head.rows)
        migrations.migrate(url, schema)
        with migrations.connect(url) as connection:
            _check_empty(connection, schema)
            with ExitStack() as transaction:
                _load(backup, connection, schema, progress, transaction)
                _check_alone(connection, schema, backup.counts)
                if not as_it_was:
                    _put_back(connection, schema)
                if end is not None:
                    asyncio.run(end(_tx(connection, schema), backup))
    except MigrationError as exc:
        raise BackupError(f"the schema cannot be made: {exc}") from exc
    except psycopg.Error as exc:
        raise BackupError(f"the database did not take it, and was left without it: {diagnosis.explain(exc)}") from exc
    return backup


def put_back(schema: str, url: str, *, end: Callable[[Tx], Coroutine[Any, Any, None]] | None = None) -> None:
    """Have devices go on with a database that was put back to an earlier state by other means. Raises BackupError.

    `end`: what is done last, in the same transaction.
    """
    try:
        with migrations.connect(url) as connection, connection.transaction():
            connection.execute(PATIENCE)
            _put_back(connection, schema)
            if end is not None:
                asyncio.run(end(_tx(connection, schema)))
    except psycopg.Error as exc:
        raise BackupError(f"the database did not take it: {diagnosis.explain(exc)}") from exc


def _tx(connection: Connection, schema: str) -> Tx:
    return Tx(cast("psycopg.AsyncConnection[Any]", connection), schema, Blocking(connection))


def _put_back(connection: Connection, schema: str) -> None:
    for statement in ("put_back_spaces", "put_back_clients", "put_back_syncs", "put_back_sessions"):
        connection.execute(queries(schema)[statement], {"margin": MARGIN})


def _check_version(backup: Reader) -> None:
    known = {migration.name for migration in migrations.available()}
    if newer := [name for name in backup.head.migrations if name not in known]:
        raise BackupError(f"the backup is of a newer sync-server ({newer[-1]}): restore it with that version")


def _check_empty(connection: Connection, schema: str) -> None:
    """On CockroachDB, where a restore takes several transactions, what a broken-off one left is removed."""
    full = [table for table in TABLES if table not in SUMS and _has_rows(connection, schema, table)]
    if not full:
        return
    if on_cockroachdb(connection) and set(full) <= set(BULK):
        for table in full:
            connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(schema, table)))
        return
    raise BackupError(
        f"the realm is not empty (there is something in {', '.join(full)}): restore under the name of a new realm"
    )


def _has_rows(connection: Connection, schema: str, table: str) -> bool:
    query = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(schema, table))
    return connection.execute(query).fetchone() is not None


def _load(backup: Reader, connection: Connection, schema: str, progress: Progress, transaction: ExitStack) -> None:
    in_steps = on_cockroachdb(connection)
    if not in_steps:
        _begin(connection, transaction)
    there = existing(connection, schema)
    for table, columns, rows in backup.tables():
        wanted = in_order_of(columns, there[table]) if table in TABLES else []
        if not wanted or len(wanted) != len(columns):
            raise BackupError(f"the backup is damaged: there is no such table as its {table}")
        if in_steps and table == ACCOUNTS[0]:
            _begin(connection, transaction)
        if table in SUMS:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, table)))
        statement = _insert(schema, table, wanted)
        for portion in _portions(rows):
            connection.execute(statement, _arrays(wanted, portion))
            progress.advance(len(portion))


def _begin(connection: Connection, transaction: ExitStack) -> None:
    transaction.enter_context(connection.transaction())
    connection.execute(PATIENCE)


def _insert(schema: str, table: str, columns: Sequence[Column]) -> sql.Composed:
    arrays = [sql.SQL("%b::{}[]").format(sql.SQL(column.type)) for column in columns]
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    return sql.SQL("INSERT INTO {} ({}) SELECT * FROM unnest({})").format(
        sql.Identifier(schema, table), names, sql.SQL(", ").join(arrays)
    )


def _arrays(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    values = [list(column) for column in zip(*rows, strict=True)]
    for number, column in enumerate(columns):
        if column.type == "bytea":  # JSON has base64
            values[number] = [None if value is None else b64decode(value) for value in values[number]]
    return values


def _portions(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    portion: list[list[Any]] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += sum(len(value) for value in row if isinstance(value, str))
        if len(portion) == _ROWS or size >= _BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _check_alone(connection: Connection, schema: str, counts: dict[str, Count]) -> None:
    """Nobody has registered meanwhile."""
    users = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, "users"))
    if connection.execute(users).fetchone() != (counts["users"].rows if "users" in counts else 0,):
        raise BackupError("somebody has registered meanwhile: restore under the name of a new realm")
