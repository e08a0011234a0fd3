"""Named statements in the form in which PostgreSQL takes them, and the short way to run one on a connection.

What psycopg's cursors can do beyond that (several results, scrolling, statements that are made up on the way) takes longer
than most of our statements do.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import psycopg
from psycopg import generators
from psycopg.abc import AdaptContext, DumperKey
from psycopg.adapt import AdaptersMap, Dumper, PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper, IntNumericBinaryDumper

T = TypeVar("T")
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)([sb])|%)")
_FORMATS = {"s": PyFormat.AUTO, "b": PyFormat.BINARY}
_ONCE = b""
"""In place of a prepared statement's name: it was run once, and is prepared when it comes again."""
_MOST_PREPARED = 200
_BEYOND = 2**63
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Statement:
    """A statement whose parameters stand in it as `%(name)s`, or as `%(name)b` for those that are sent in binary form."""

    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self.formats: list[PyFormat] = []
        self.text = _PLACEHOLDER.sub(self._number, text).encode()
        self._columns: list[str] | None = None

    def columns(self, result: PGresult) -> list[str]:
        """The names of the columns of a result of this statement, which are the same each time."""
        if self._columns is None:
            self._columns = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
        return self._columns

    def _number(self, found: re.Match[str]) -> str:
        name, form = found.groups()
        if name is None:
            return "%"
        if name not in self.names:
            self.names.append(name)
            self.formats.append(_FORMATS[form])
        return f"${self.names.index(name) + 1}"


class Running:
    """Runs statements on one connection, one at a time, and knows which of them are prepared there."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], *, prepare: bool) -> None:
        self._connection = connection
        self._prepare = prepare
        self._names: dict[tuple[Statement, Sequence[int]], bytes] = {}
        self._numbers = itertools.count()
        self._adapting = Transformer(_context(connection))

    async def count(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        """Run it; the number of rows that it touched or found."""
        return (await self._run(statement, parameters)).command_tuples or 0

    async def value(self, statement: Statement, parameters: Mapping[str, Any]) -> Any:
        """Run it; the first column of its first row, None without a row."""
        result = await self._run(statement, parameters)
        first = self._rows(result, tuple, 1)
        return first[0][0] if first else None

    async def rows(
        self, kind: Callable[..., T], statement: Statement, parameters: Mapping[str, Any], most: int | None = None
    ) -> list[T]:
        """Run it; its rows as `kind`, whose keyword arguments are the columns. `most`: how many of them."""
        result = await self._run(statement, parameters)
        names = statement.columns(result)
        return self._rows(result, lambda values: kind(**dict(zip(names, values, strict=True))), most)

    def _rows(self, result: PGresult, make: Callable[[Sequence[Any]], T], most: int | None) -> list[T]:
        adapting = self._adapting
        adapting.set_pgresult(result)
        try:
            return adapting.load_rows(0, result.ntuples if most is None else min(most, result.ntuples), make)
        finally:
            adapting.set_pgresult(None)  # it may be large, and the connection lives on

    async def _run(self, statement: Statement, parameters: Mapping[str, Any]) -> PGresult:
        """The statement's result, in binary form. Raises psycopg.Error."""
        adapting, pgconn = self._adapting, self._connection.pgconn
        values = adapting.dump_sequence([parameters[name] for name in statement.names], statement.formats)
        types, formats = adapting.types or (), adapting.formats
        name = self._names.get((statement, types))
        if not name and self._prepare:
            name = await self._prepare_if_worth_it(statement, types)
        if name:
            pgconn.send_query_prepared(name, values, formats, Format.BINARY)
        else:
            pgconn.send_query_params(statement.text, values, types, formats, Format.BINARY)
        return await self._result()

    async def _prepare_if_worth_it(self, statement: Statement, types: Sequence[int]) -> bytes | None:
        known = self._names.get((statement, types))
        if known is None:
            if len(self._names) < _MOST_PREPARED:
                self._names[statement, types] = _ONCE
            return None
        name = b"sync_%d" % next(self._numbers)  # never the same again: it may be there although its answer got lost
        self._connection.pgconn.send_prepare(name, statement.text, types)
        await self._result()
        self._names[statement, types] = name
        return name

    async def _result(self) -> PGresult:
        return _last(await self._connection.wait(generators.execute(self._connection.pgconn)))


class Blocking(Running):
    """On a connection of a command, which does nothing else meanwhile: no call of it waits for the event loop."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._blocking = connection
        super().__init__(cast("psycopg.AsyncConnection[Any]", connection), prepare=False)

    async def _result(self) -> PGresult:
        return _last(self._blocking.wait(generators.execute(self._blocking.pgconn)))


def _last(results: list[PGresult]) -> PGresult:
    for result in results:
        if result.status not in _DONE:
            raise error_from_result(result, encoding="utf-8")
    return results[-1]


class _Context(NamedTuple):
    """What psycopg adapts values by."""

    adapters: AdaptersMap
    connection: psycopg.AsyncConnection[Any]


class _Bigint(Int8BinaryDumper):
    """Every integer is a bigint: psycopg takes the smallest type, and each would make a prepared statement of its own.

    What is beyond that, which somebody may well send, is a numeric.
    """

    def get_key(self, obj: int, format: PyFormat) -> DumperKey:  # noqa: A002, ARG002 - psycopg's
        return int if -_BEYOND <= obj < _BEYOND else (int, int)

    def upgrade(self, obj: int, format: PyFormat) -> Dumper:  # noqa: A002, ARG002 - psycopg's
        return self if -_BEYOND <= obj < _BEYOND else IntNumericBinaryDumper(int)


def _context(connection: psycopg.AsyncConnection[Any]) -> AdaptContext:
    adapters = AdaptersMap(connection.adapters)
    # in arrays, which go as text: else the type of the first one that the connection gets is that of all later ones
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_dumper(int, _Bigint)  # the later one is preferred
    return _Context(adapters, connection)
