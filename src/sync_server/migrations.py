"""Bring a realm's database to the present schema: each file of sql/migrations once, in order, whoever else tries too."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

import psycopg
import structlog
from psycopg import errors as pg
from psycopg import sql

from sync_server import connections, diagnosis, steps
from sync_server.database import on_cockroachdb, sql_directory, with_schema

log = structlog.get_logger()
Connection = psycopg.Connection[tuple[Any, ...]]
_ATTEMPTS = 30
_ANSWER = 10.0
"""Seconds that a database may take to say what it has. To migrate it may take as long as it takes."""
_RACES = (
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.UniqueViolation,
    pg.DuplicateTable,
    pg.DuplicateObject,  # the type that comes with a table
    pg.DuplicateSchema,
    pg.InternalError_,  # PostgreSQL: "tuple concurrently updated"
)
_BOOKS = """
CREATE TABLE IF NOT EXISTS {schema}.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_LOCK = "INSERT INTO {schema}.migrations (version, name, digest) VALUES (0, 'lock', '') ON CONFLICT DO NOTHING"
# A migration, and the wait for another process's, may take longer than the role's other statements.
PATIENCE = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"
# But while it waits for a table that somebody uses, a backup for example, everybody who comes later waits behind it.
_HASTE = "SET LOCAL lock_timeout = '1s'"
_UNTIL_NEXT = (2.0, 5.0)
"""Seconds between two tries to get hold of the tables, in which whoever had to wait gets on."""
_IN_USE = (
    "a backup or another long transaction uses a table that is to be changed: it is tried again until that has ended"
)
_PATIENCE_OF_CONNECTION = "SET statement_timeout = 0"


class Migration(NamedTuple):
    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def on_postgresql(self) -> str:
        """What comes with it on PostgreSQL only, such as triggers."""
        file = sql_directory() / "postgresql" / f"{self.name}.sql"
        return file.read_text() if file.exists() else ""


class MigrationError(Exception):
    """The schema cannot be brought up to date; one line says why."""


def available(directory: Path | None = None) -> list[Migration]:
    """The migrations that this version of the server knows, in order."""
    files = sorted((directory or sql_directory() / "migrations").glob("[0-9]*_*.sql"))
    return [Migration(int(file.name.split("_")[0]), file.stem, file.read_text()) for file in files]


def connect(url: str) -> Connection:
    """A connection, within a few seconds. Raises psycopg.OperationalError when the database cannot be reached."""
    connection = psycopg.connect(
        url,
        autocommit=True,
        prepare_threshold=None,
        application_name="sync-server migrate",
        **connections.parameters(url),
    )
    connection.isolation_level = (
        psycopg.IsolationLevel.SERIALIZABLE  # the other one may be switched off, and takes no changes of the schema
        if on_cockroachdb(connection)
        else psycopg.IsolationLevel.READ_COMMITTED  # what is done is seen after waiting for the lock
    )
    return connection


@contextmanager
def answering(connection: Connection) -> Iterator[None]:
    """Hang up when the block, which is to do nothing but look, takes long. Raises psycopg's ConnectionTimeout then."""
    late = threading.Event()

    def end() -> None:
        late.set()
        connections.hang_up(connection)

    timer = threading.Timer(_ANSWER, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg.Error as exc:
        if late.is_set():
            raise pg.ConnectionTimeout(f"timeout: no answer in {_ANSWER:.0f} seconds") from exc
        raise
    finally:
        timer.cancel()


def migrate(url: str, schema: str = "sync", migrations: list[Migration] | None = None) -> list[str]:
    """Apply what is missing in the database at `url`; the names of what was applied.

    All of it is one transaction that first locks a row, so of several processes one applies and the others find it done,
    and a killed one leaves nothing behind, without session locks. On CockroachDB each statement is a transaction of its own,
    under the same lock, and the next run goes on where a killed one ended (steps.py).
    A table that somebody uses for longer than a second, as a backup does, is tried again until it is free: devices would
    wait behind whoever waits for it.
    Raises MigrationError, or psycopg.OperationalError when the database cannot be reached.
    """
    wanted = migrations if migrations is not None else available()
    conflicts = 0
    while True:
        with connect(url) as connection:
            try:
                return _try(url, connection, schema, wanted)
            except pg.ConnectionTimeout:
                raise
            except pg.LockNotAvailable:
                pause = random.uniform(*_UNTIL_NEXT)  # noqa: S311 - so that several processes do not go on meeting
                log.warning("migration_waits", hint=_IN_USE, schema=schema, next_try_in_seconds=round(pause))
            except psycopg.Error as exc:
                conflicts += 1
                if not isinstance(exc, _RACES) or conflicts == _ATTEMPTS:
                    raise MigrationError(diagnosis.explain(exc)) from exc
                pause = random.uniform(0.02, 0.2)  # noqa: S311 - another process is at it
        time.sleep(pause)


def _try(url: str, connection: Connection, schema: str, wanted: list[Migration]) -> list[str]:
    with answering(connection):
        if not _missing(connection, schema, wanted):
            return []  # no right to create anything is needed where nothing is missing
    if on_cockroachdb(connection):
        return _apply_in_steps(url, connection, schema, wanted)
    return _apply(connection, schema, wanted)


def pending(connection: Connection, schema: str) -> list[str]:
    """The names of the migrations that the database still lacks. Changes nothing. Raises MigrationError as `migrate`."""
    return [migration.name for migration in _missing(connection, schema, available())]


def apply_within(connection: Connection, schema: str) -> None:
    """Apply what is missing in the transaction that the connection is in, for one that will be rolled back."""
    missing = _missing(connection, schema, available()) if _is_kept(connection, schema) else available()
    if missing:
        _keep_books(connection, schema)
        for migration in missing:
            _run(connection, schema, migration)


def check_encoding(connection: Connection) -> None:
    """Raises MigrationError unless the database can hold all of Unicode."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in {None, "UTF8"}:
        raise MigrationError(
            f"the database's encoding is {encoding}; make one with createdb --encoding=UTF8 -T template0"
        )


def _apply(connection: Connection, schema: str, wanted: list[Migration]) -> list[str]:
    check_encoding(connection)
    _keep_books(connection, schema)
    with connection.transaction():
        _lock(connection, schema)
        missing = _missing(connection, schema, wanted)
        connection.execute(_HASTE)
        for migration in missing:
            _run(connection, schema, migration)
    return [migration.name for migration in missing]


def _apply_in_steps(url: str, connection: Connection, schema: str, wanted: list[Migration]) -> list[str]:
    _keep_books(connection, schema)
    connection.execute(_PATIENCE_OF_CONNECTION)
    with connect(url) as guard, guard.transaction(force_rollback=True):
        _lock(guard, schema)
        missing = _missing(connection, schema, wanted)
        for migration in missing:
            with _named(migration):
                steps.apply(connection, schema, migration)
    return [migration.name for migration in missing]


def _lock(connection: Connection, schema: str) -> None:
    """Wait for whoever is at it, and keep others out until the end of the transaction."""
    connection.execute(PATIENCE)
    _execute(connection, "SELECT version FROM {schema}.migrations WHERE version = 0 FOR UPDATE", schema)


def _is_kept(connection: Connection, schema: str) -> bool:
    """Whether there is a table of applied migrations. To ask it itself would end a transaction."""
    query = """
        SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relname = 'migrations'
    """
    return connection.execute(query, [schema]).fetchone() is not None


def _keep_books(connection: Connection, schema: str) -> None:
    """Make the table of applied migrations, and the row in it that is the lock."""
    exists = connection.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", [schema]).fetchone()
    if not exists:  # IF NOT EXISTS would demand the right to create schemas even where there is one
        _execute(connection, "CREATE SCHEMA IF NOT EXISTS {schema}", schema)
    _execute(connection, _BOOKS, schema)
    _execute(connection, _LOCK, schema)


@contextmanager
def _named(migration: Migration) -> Iterator[None]:
    """What goes wrong in the block, but for what is tried again, tells the migration's name."""
    try:
        yield
    except psycopg.Error as exc:
        if isinstance(exc, (*_RACES, pg.LockNotAvailable)):
            raise
        raise MigrationError(f"{migration.name}: {diagnosis.explain(exc)}") from exc


def _run(connection: Connection, schema: str, migration: Migration) -> None:
    with _named(migration):
        connection.execute(with_schema(migration.text, schema).encode())
        if migration.on_postgresql:
            connection.execute(with_schema(migration.on_postgresql, schema).encode())
    record = "INSERT INTO {schema}.migrations (version, name, digest) VALUES (%s, %s, %s)"
    _execute(connection, record, schema, migration.version, migration.name, migration.digest)


def _missing(connection: Connection, schema: str, wanted: list[Migration]) -> list[Migration]:
    """Those of `wanted` that were not applied. Raises MigrationError when one was applied that said something else."""
    try:
        applied = dict(_execute(connection, "SELECT version, digest FROM {schema}.migrations", schema).fetchall())
    except (pg.UndefinedTable, pg.InvalidSchemaName):
        applied = {}
    for migration in wanted:
        if applied.get(migration.version, migration.digest) != migration.digest:
            raise MigrationError(f"{migration.name} differs from the file that was applied to this database")
    return [migration for migration in wanted if migration.version not in applied]


def _execute(
    connection: Connection, text: LiteralString, schema: str, *values: object
) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(sql.SQL(text).format(schema=sql.Identifier(schema)), values or None)
