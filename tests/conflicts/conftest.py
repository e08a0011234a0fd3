"""A server whose database asks for serializable transactions and stands behind an injector."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from accounts.conftest import Callers
from accounts.outbox import Outbox
from conflicts.injector import Injector
from conflicts.scenarios import World
from conftest import start_server
from postgres import Postgres, database_of
from users import look_into

_numbers = itertools.count(1)


def serializable(postgres: Postgres) -> str:
    """The URL of an empty database whose transactions are serializable, as CockroachDB's are."""
    url = postgres.create_database(f"conflicts_{next(_numbers)}")
    with psycopg.connect(url, autocommit=True) as connection:
        setting = "SET default_transaction_isolation = 'serializable'"
        connection.execute(f'ALTER DATABASE "{database_of(url)}" {setting}'.encode())
    return url


@pytest.fixture
def serializable_url(postgres: Postgres) -> str:
    return serializable(postgres)


@pytest.fixture(scope="module")
def world(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    url = serializable(postgres)
    with ExitStack() as stack:
        injector = stack.enter_context(Injector(url))
        config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"main": injector.url}}}
        process = start_server(tmp_path_factory.mktemp("conflicts"), config)
        stack.callback(process.stop)
        callers = Callers(process.url)
        stack.callback(callers.close)
        database = stack.enter_context(look_into(url))
        yield World(
            injector,
            database,
            Outbox(process.directory / "data" / "outbox"),
            callers.new,
            lambda: process.log,
            process.url,
        )
        assert not [line for line in process.log.splitlines() if "Traceback" in line or '"fault"' in line]
