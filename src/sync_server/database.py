"""A connection inside a transaction, and the named statements that run on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import msgspec
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from sync_server.statements import Running, Statement

T = TypeVar("T")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_BEGUN = re.compile(r"^-- the beginning of (\w+)$", re.MULTILINE)
_CONTINUED = re.compile(r"^-- with the rest of (\w+)$", re.MULTILINE)
_CHANGED = re.compile(r"^-- as (\w+), but for these parts$", re.MULTILINE)
_WITHOUT = re.compile(r"^-- without (.+)$", re.MULTILINE)
_PART = re.compile(r"^(?:WITH )?(\w+) AS \(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
_END = "\n)"
"""Of a part."""
_SCHEMA = re.compile(r"\bsync\.(?=[a-z_])")


def sql_directory() -> Path:
    """Where the .sql files are: inside the installed package, or at the top of the source tree."""
    installed = Path(__file__).parent / "sql"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "sql"


def with_schema(text: str, schema: str) -> str:
    """`text` with its tables in `schema`. The files name the schema "sync"."""
    return text if schema == "sync" else _SCHEMA.sub(f'"{schema}".', text)


@cache
def queries(schema: str, directory: str = "queries") -> Mapping[str, LiteralString]:
    """All statements of sql/<directory> by their names (`-- name: lock_space`), for tables in `schema`."""
    found: dict[str, LiteralString] = {}
    for file in sorted((sql_directory() / directory).glob("*.sql")):
        _, *parts = _NAME.split(file.read_text())
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"{file}: the statement {name} stands twice")
            # the text comes from files of this package, never from a request
            found[name] = with_schema(text.strip(), schema)
    for name, text in found.items():
        begun = _BEGUN.search(text)
        if continued := _CONTINUED.search(text):
            found[name] = _continue(found[begun[1]] if begun else text, found[continued[1]])
        elif begun:
            found[name] = _beginning(found[begun[1]]) + text[begun.end() :]
        elif changed := _CHANGED.search(text):
            found[name] = _change(text, found[changed[1]])
    return found


def _continue(text: LiteralString, other: LiteralString) -> LiteralString:
    """The parts of `text` (`WITH x AS (...)`, ...), and what follows the first part of `other`."""
    return _beginning(text) + other.partition(_END)[2]


def _beginning(text: LiteralString) -> LiteralString:
    """The parts of a statement (`WITH x AS (...)`, ...) before what it does with them."""
    return text.partition(_END + "\n")[0] + _END


def _change(text: LiteralString, other: LiteralString) -> LiteralString:
    """`other` with the parts of `text` in place of those of the same name; new ones before the next of these, or last.

    Those that `text` is to be without are left out.
    """
    parts = dict(_PART.findall(other))
    without = {name for names in _WITHOUT.findall(text) for name in names.split(", ")}
    order, new = [name for name in parts if name not in without], list[str]()
    for name, part in _PART.findall(text):
        new.append(name)
        if name in parts:
            place = order.index(name)
            order[place : place + 1] = new
            new = []
        parts[name] = part
    *_, last = _PART.finditer(other)
    made = ",\n".join(f"{name} AS (\n{parts[name]})" for name in order + new)
    return " ".join(("WITH", made)) + other[last.end() :]  # noqa: FLY002 - a test takes a text that begins so for a statement


class _RawDumper(Dumper):
    """JSON text as it was sent, which may be long: no copy of it is made."""

    format = Format.BINARY
    oid = psycopg.adapters.types["text"].oid

    def dump(self, obj: msgspec.Raw) -> memoryview:
        return memoryview(obj)


psycopg.adapters.register_dumper(msgspec.Raw, _RawDumper)


def on_cockroachdb(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> bool:
    """Whether the database is CockroachDB, which says so when it is connected to."""
    return connection.info.parameter_status("crdb_version") is not None


@cache
def _statements(schema: str) -> Mapping[str, Statement]:
    return {name: Statement(text) for name, text in queries(schema).items()}


class Tx:
    """A connection inside a transaction (or, for a single read, without one). Each call runs one named statement."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], schema: str, running: Running | None = None) -> None:
        """`running`: what runs statements on the connection, if there is one already."""
        self._connection = connection
        self._running = running or Running(connection, prepare=False)
        self._statements = _statements(schema)

    @property
    def on_cockroachdb(self) -> bool:
        return on_cockroachdb(self._connection)

    async def execute(self, name: str, parameters: Mapping[str, Any]) -> int:
        """Run a statement; the number of rows that it touched."""
        return await self._running.count(self._statements[name], parameters)

    async def one(self, kind: type[T], name: str, parameters: Mapping[str, Any]) -> T | None:
        """The only row of the statement's result as a `kind`, whose fields are the columns; None without a row."""
        found = await self._running.rows(kind, self._statements[name], parameters, most=1)
        return found[0] if found else None

    async def all(self, kind: type[T], name: str, parameters: Mapping[str, Any]) -> Sequence[T]:
        """Every row of the statement's result as a `kind`, whose fields are the columns."""
        return await self._running.rows(kind, self._statements[name], parameters)

    async def value(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """The first column of the statement's first row; None without a row."""
        return await self._running.value(self._statements[name], parameters)
