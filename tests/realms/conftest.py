"""Realms as the server has them, on databases that a test may hang."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import pytest

from postgres import Postgres, realm_at
from proxies import Proxy, address_of, through
from server.conftest import operator
from sync_server.config import Config, Database
from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.mail import queue
from sync_server.realms import Realm, Realms

__all__ = ["operator"]

_numbers = itertools.count(1)


@pytest.fixture
def new_database(postgres: Postgres) -> Callable[[], str]:
    """Make a migrated database; its URL."""

    def make() -> str:
        return postgres.create_migrated(f"realms_{next(_numbers)}")

    return make


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    """A way to the databases that a test may block."""
    with Proxy(address_of(postgres.create_database("realms_0"))) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: Proxy, new_database: Callable[[], str]) -> str:
    """A database behind the proxy."""
    return through(proxy, new_database())


@asynccontextmanager
async def serving(
    urls: dict[str, str],
    *,
    connections: int = 8,
    timeout: float = 1.0,  # noqa: ASYNC109 - the setting
) -> AsyncIterator[Realms]:
    """The realms of these databases."""
    realms = {name: realm_at(url) for name, url in urls.items()}
    config = Config(db=Database(realms=realms, max_connections=connections, timeout=timeout))
    made = Realms(config, urls)
    try:
        yield made
    finally:
        await made.close()


async def look(tx: Tx) -> None:
    """What a call does that is quick."""
    await queue.next_due(tx)


@dataclass
class Took:
    """How a call ended and how long it took."""

    seconds: float = 0.0
    refusal: Unavailable | None = None
    begun: float = field(default_factory=time.monotonic)


async def call(realm: Realm, work: Callable[[Tx], object] = look) -> Took:
    took = Took()
    try:
        await realm.transact(work)  # type: ignore[arg-type]
    except Unavailable as refusal:
        took.refusal = refusal
    took.seconds = time.monotonic() - took.begun
    return took


def connections_to(url: str, databases: str) -> int:
    """Connections that servers have to the databases with names LIKE this; other servers use this PostgreSQL, too."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sync-server' AND datname LIKE %s"
        return int(connection.execute(query, [databases]).fetchall()[0][0])
