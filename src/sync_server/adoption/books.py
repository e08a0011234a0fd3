"""A connection to a database with old and new tables, and the named statements that run on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString, TypeVar

from psycopg.rows import class_row, dict_row

from sync_server.migrations import Connection

T = TypeVar("T")


class Books:
    """Each call runs one named statement of sql/adoption."""

    def __init__(self, connection: Connection, statements: Mapping[str, LiteralString], **always: Any) -> None:
        """`always`: parameters of every statement."""
        self.connection = connection
        self._statements = statements
        self._always = always

    def execute(self, name: str, **parameters: Any) -> int:
        """Run a statement; the number of rows that it touched."""
        return self.connection.execute(self._statements[name], {**self._always, **parameters}).rowcount

    def one(self, name: str, **parameters: Any) -> dict[str, Any]:
        """The only row of the statement's result."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(self._statements[name], {**self._always, **parameters}).fetchall()[0]

    def all(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(self._statements[name], {**self._always, **parameters}).fetchall()

    def all_as(self, kind: type[T], name: str, **parameters: Any) -> list[T]:
        with self.connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(self._statements[name], {**self._always, **parameters}).fetchall()
