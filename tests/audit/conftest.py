"""A database of a realm, and the domain's functions run in it, each in a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest

from postgres import Postgres
from sync_server import migrations
from sync_server.database import Tx
from users import Connection, look_into

T = TypeVar("T")


class Database:
    """One realm's database, looked into by `connection`."""

    def __init__(self, url: str, schema: str = "sync") -> None:
        self.url = url
        self.schema = schema
        self.connection: Connection = look_into(url)

    def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run a function of the domain in a transaction of its own."""

        async def run() -> T:
            async with await psycopg.AsyncConnection.connect(self.url) as connection:
                return await work(Tx(connection, self.schema))

        return asyncio.run(run())

    def select(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.connection.execute(query, parameters).fetchall()


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> str:
    """The URL of a database whose audit log the module's tests share."""
    url = postgres.create_database(f"audit_{uuid4().hex[:8]}")
    migrations.migrate(url)
    return url


@pytest.fixture
def database(migrated: str) -> Iterator[Database]:
    database = Database(migrated)
    yield database
    database.connection.close()


@pytest.fixture
def fresh(database_url: str) -> Iterator[Database]:
    """A database of the test's own."""
    database = Database(database_url)
    yield database
    database.connection.close()
