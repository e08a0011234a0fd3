"""An operator without HTTP: the rules of `sync_server.stored`, run on a realm's database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from sync_server.database import Tx
from sync_server.stored import restoring
from sync_server.stored.restoring import Restored
from sync_server.stored.versions import RowKey

T = TypeVar("T")
BY = UUID("0b0b0b0b-0000-4000-8000-000000000000")
"""The operator's user id."""


def within(database: psycopg.Connection[Any], work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run `work` in a transaction of its own in the database that the connection leads to; again after a conflict."""

    async def working() -> T:
        info = database.info
        parameters: dict[str, Any] = {**info.get_parameters(), "password": info.password}
        async with (
            await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as connection,
            connection.transaction(),
        ):
            return await work(Tx(connection, "sync"))

    while True:
        try:
            return asyncio.run(working())
        except psycopg.errors.SerializationFailure:  # as the server, where the database is serializable
            continue


def put_back(database: psycopg.Connection[Any], row: RowKey, row_data: str | None) -> Restored:
    """Have a row say this again."""

    async def work(tx: Tx) -> Restored:
        await restoring.lock(tx, row.space_id)
        return await restoring.put(tx, row, row_data, by=BY, full_history=False)

    return within(database, work)


def restore(
    database: psycopg.Connection[Any], row: RowKey, name: str, *, seen: int | None = None, full_history: bool = False
) -> Restored:
    """Restore a version by its name."""

    async def work(tx: Tx) -> Restored:
        _, restored = await restoring.restore(tx, row, name, by=BY, full_history=full_history, seen=seen)
        return restored

    return within(database, work)
