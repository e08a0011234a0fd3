"""Integers go to the database as bigints, also in arrays: what a connection was given first decides nothing later."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from sync_server.statements import Running, Statement


@pytest.mark.parametrize("form", ["s", "b"])
def test_an_array_of_small_numbers_leaves_room_for_large_ones(database_url: str, form: str) -> None:
    statement = Statement(f"SELECT max(n) FROM unnest(%(numbers){form}::bigint[]) AS n")

    async def run() -> list[int]:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            running = Running(connection, prepare=True)
            return [await running.value(statement, {"numbers": [number]}) for number in (3, 10**12, 40_000, 3)]

    assert asyncio.run(run()) == [3, 10**12, 40_000, 3]
