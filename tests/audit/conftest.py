"""A database of a realm, in which functions of the domain run; a server whose realms differ in what they audit and take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import psycopg
import pytest

from conftest import Process, start_server
from postgres import PREPARED, Postgres
from sync_server.config import Config, Secret
from sync_server.config import Database as ConfiguredDatabase
from sync_server.database import Tx
from sync_server.realms import Realm, Realms
from users import Connection, NewUser, User, look_into
from wire import Wire

REALMS: dict[str, dict[str, Any]] = {
    "main": {},
    "full": {"history": "full"},
    "untouched": {"history": "full"},
    "invite": {"registration": "invite"},
    "closed": {"registration": "closed"},
    "forgetful": {"retention": {"deleted": 0}},
}
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
            async with (
                await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection,
                connection.transaction(),
            ):
                return await work(Tx(connection, self.schema))

        return asyncio.run(run())

    def select(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.connection.execute(query, parameters).fetchall()


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> str:
    """The URL of a database whose audit log the module's tests share."""
    return postgres.create_migrated(f"audit_{uuid4().hex[:8]}")


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


@pytest.fixture(scope="session")
def audited(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server with the realms of REALMS."""
    urls = {realm: postgres.create_database(f"{realm}_{uuid4().hex[:8]}") for realm in REALMS}
    realms = {realm: {"url": urls[realm], **settings} for realm, settings in REALMS.items()}
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": realms}}
    process = start_server(tmp_path_factory.mktemp("audited"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    yield process
    assert process.stop() == 0
    faults = [line for line in process.log.splitlines() if '"fault"' in line]
    assert not faults, f"the server made mistakes: {faults[:3]}"


@pytest.fixture(scope="session")
def databases(audited: Process) -> Iterator[dict[str, Database]]:
    with ExitStack() as stack:
        found = {realm: Database(audited.config["db"]["realms"][realm]["url"]) for realm in REALMS}
        for database in found.values():
            stack.enter_context(database.connection)
        yield found


@pytest.fixture
def new_user(audited: Process, databases: dict[str, Database]) -> Iterator[NewUser]:
    wire = Wire(audited.url)
    yield lambda realm="full": User(wire.send, realm, databases[realm].connection)
    wire.close()


def in_realm(url: str, work: Callable[[Realm], Awaitable[T]], **settings: Any) -> T:
    """Run `work` with a realm of the database, as a command does."""
    document = {"realms": {"main": {"url": url, "prepared_statements": PREPARED, **settings}}}
    config = Config(db=msgspec.convert(document, ConfiguredDatabase, dec_hook=lambda _, value: Secret(value)))

    async def run() -> T:
        realms = Realms(config, {"main": url})
        try:
            return await work(realms.get("main"))
        finally:
            await realms.close()

    return asyncio.run(run())
