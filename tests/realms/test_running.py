"""Statements on a connection: what is prepared there, and what of a result stays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import errors as pg

from postgres import PREPARED
from sync_server.statements import Running, Statement

pytestmark = pytest.mark.anyio
SUM = Statement("SELECT %(a)s::bigint + %(b)s AS sum, '100%%' AS text, %(a)s::bigint AS a")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


async def prepared(connection: psycopg.AsyncConnection) -> int:
    found = await (await connection.execute("SELECT count(*) FROM pg_prepared_statements")).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("prepare", [PREPARED, False])
async def test_whatever_the_size_of_its_numbers_a_statement_is_prepared_once(
    connection: psycopg.AsyncConnection, prepare: bool
) -> None:
    running = Running(connection, prepare=prepare)
    for number in (1, 1, 2**15, 2**15, 2**31, 2**62):
        found: dict[str, object]
        (found,) = await running.rows(dict, SUM, {"a": number, "b": 1})
        assert found == {"sum": number + 1, "text": "100%", "a": number}
    assert await prepared(connection) == (1 if prepare else 0)


async def test_numbers_that_no_column_can_hold_are_compared_all_the_same(connection: psycopg.AsyncConnection) -> None:
    running = Running(connection, prepare=PREPARED)
    compared = Statement("SELECT 5::bigint < %(a)s")
    for number, less in ((6, True), (2**63, True), (-(2**63), False), (-(10**30), False), (2**63 - 1, True)):
        assert await running.value(compared, {"a": number}) is less


async def test_a_statement_that_fails_leaves_the_connection_as_it_was(connection: psycopg.AsyncConnection) -> None:
    running = Running(connection, prepare=PREPARED)
    wrong = Statement("SELECT 1 / %(a)s::bigint AS quotient")
    for _ in range(3):
        with pytest.raises(pg.DivisionByZero):
            await running.value(wrong, {"a": 0})
        assert await running.value(wrong, {"a": 1}) == 1


async def test_no_result_is_kept(connection: psycopg.AsyncConnection) -> None:
    """A pull of large rows would stay in memory for as long as its connection is open."""
    running = Running(connection, prepare=PREPARED)
    for _ in range(3):
        assert await running.value(Statement("SELECT repeat('x', %(a)s::int)"), {"a": 10}) == "x" * 10
    assert running._adapting.pgresult is None  # noqa: SLF001


async def test_there_may_be_no_row_and_no_column(connection: psycopg.AsyncConnection) -> None:
    running = Running(connection, prepare=PREPARED)
    nothing = Statement("SELECT 1 AS one WHERE %(a)s::bigint > 5")
    assert await running.value(nothing, {"a": 1}) is None
    assert await running.rows(dict, nothing, {"a": 1}) == []
    assert await running.count(nothing, {"a": 1}) == 0
    assert await running.count(Statement("CREATE TABLE nothing ()"), {}) == 0
    assert await running.count(Statement("INSERT INTO nothing DEFAULT VALUES"), {}) == 1
