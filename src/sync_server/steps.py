"""Migrations on CockroachDB: one statement at a time, each in a transaction of its own.

Its documentation asks for that ("online schema changes", limitations): several changes of a schema in one transaction may
come about in part, a new table that refers to an older one cannot be used in its own transaction, and READ COMMITTED
transactions take none at all. In place of the transaction, the books tell how far a migration has come.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

import psycopg
from psycopg import errors as pg
from psycopg import sql

from sync_server.database import with_schema

if TYPE_CHECKING:
    from sync_server.migrations import Connection, Migration

_DONE = (pg.DuplicateTable, pg.DuplicateColumn, pg.DuplicateObject, pg.UniqueViolation)
"""What a statement of a migration says that was done before, be it a table, an index, a column or a row."""
_READ = "SELECT digest FROM {schema}.migrations WHERE version = %s"
_NOTE = """
INSERT INTO {schema}.migrations (version, name, digest) VALUES (%s, %s, %s)
ON CONFLICT (version) DO UPDATE SET digest = excluded.digest
"""
_RECORD = "INSERT INTO {schema}.migrations (version, name, digest) VALUES (%s, %s, %s)"
_FORGET = "DELETE FROM {schema}.migrations WHERE version = %s"


class _Progress(NamedTuple):
    done: int
    """Statements that have been done."""
    begun: bool
    """Whether the next one was sent, so that nobody knows what has become of it."""

    @classmethod
    def parse(cls, text: str) -> _Progress:
        return cls(int(text.removesuffix("+")), text.endswith("+"))

    def __str__(self) -> str:
        return f"{self.done}{'+' * self.begun}"


def statements(text: str) -> list[str]:
    """The statements of a migration, in which semicolons and double hyphens stand nowhere else (a test holds that)."""
    return [found for part in re.sub(r"--[^\n]*", "", text).split(";") if (found := part.strip())]


def apply(connection: Connection, schema: str, migration: Migration) -> None:
    """Apply what is left of a migration on a connection that is in no transaction. Raises psycopg.Error.

    Whoever was killed in the middle, or lost the connection, goes on where it ended. The one statement of which nobody knows
    whether it was done may find that it was; for any other one, a table that is there already is somebody else's.
    """
    books = _Books(connection, schema, migration)
    unknown = books.read()
    texts = statements(with_schema(migration.text, schema))
    for number in range(unknown.done, len(texts)):
        books.note(_Progress(number, begun=True))
        try:
            connection.execute(texts[number].encode())
        except psycopg.Error as exc:
            if isinstance(exc, _DONE) and unknown == _Progress(number, begun=True):
                continue
            if not connection.closed and not isinstance(exc, pg.StatementCompletionUnknown):
                books.note(_Progress(number, begun=False))
            raise
    books.close()


class _Books:
    """The line of a migration that is under way: under its version's negative number, and gone with the last statement."""

    def __init__(self, connection: Connection, schema: str, migration: Migration) -> None:
        self._connection, self._migration = connection, migration
        self._schema = sql.Identifier(schema)

    def read(self) -> _Progress:
        found = self._execute(_READ, -self._migration.version).fetchone()
        return _Progress.parse(found[0]) if found else _Progress(0, begun=False)

    def note(self, progress: _Progress) -> None:
        self._execute(_NOTE, -self._migration.version, self._migration.name, str(progress))

    def close(self) -> None:
        with self._connection.transaction():
            self._execute(_RECORD, self._migration.version, self._migration.name, self._migration.digest)
            self._execute(_FORGET, -self._migration.version)

    def _execute(self, text: LiteralString, *values: object) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.execute(sql.SQL(text).format(schema=self._schema), values)
