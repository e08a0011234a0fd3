"""What the tests of accounts have in common: the calls, a look into the database, PINs from the outbox, own servers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from accounts.calls import Calls
from accounts.outbox import Outbox
from conftest import Process, Server, start_server
from postgres import Postgres
from sync_server.keys import Keys
from users import Connection, look_into

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def calls(server: Server) -> Iterator[Calls]:
    calls = Calls(server.url, server.realm)
    yield calls
    calls.close()


@pytest.fixture(scope="session")
def database(server: Server) -> Iterator[Connection]:
    with look_into(server.dsn(server.realm)) as connection:
        yield connection


@pytest.fixture(scope="session")
def outbox(server: Server) -> Outbox:
    return Outbox(server.data_dir / "outbox")


@pytest.fixture(scope="session")
def keys(server: Server) -> Keys:
    """The server's own, so that a test can make what only the server can."""
    stored = json.loads((server.data_dir / "secrets.json").read_text())
    return Keys(stored["secret_key"], stored["secret_key_refresh"])


class Own(Process):
    """A server of a test's own, with realm `main`."""

    calls: Calls
    database: Connection
    outbox: Outbox


class Callers:
    """Callers of a server with loopback addresses that nobody else has."""

    _numbers = itertools.count(256 + 2)

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[Calls] = []

    def new(self) -> Calls:
        number = next(self._numbers)
        return self.at(f"127.0.{number // 254}.{number % 254 + 1}")

    def at(self, address: str) -> Calls:
        self._made.append(Calls(self._url, "main", address))
        return self._made[-1]

    def close(self) -> None:
        for calls in self._made:
            calls.close()


class Serve(Protocol):
    def __call__(self, *arguments: str, limits: bool = False, dsn: str | None = None, **settings: Any) -> Own:
        """Start a server; `settings` go into the `server` section, `dsn` instead of a fresh database."""


@pytest.fixture(scope="module")
def serve(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers of this module's own. They must end in order, and must not have made mistakes."""
    with ExitStack() as stack:

        def start(*arguments: str, limits: bool = False, dsn: str | None = None, **settings: Any) -> Own:
            dsn = dsn or postgres.create_database(f"accounts_{next(_numbers)}")
            config = {"server": {"bcrypt_rounds": 4, **settings}, "db": {"realms": {"main": dsn}}}
            environment = {"RATE_LIMIT_DISABLE": "0" if limits else "1"}
            process = start_server(tmp_path_factory.mktemp("own"), config, *arguments, environment=environment)
            stack.callback(_end, process)
            own = Own(process.directory, process.process, process.port, process.config, process.printed)
            own.calls = Calls(own.url, "main")
            stack.callback(own.calls.close)
            own.database = stack.enter_context(look_into(dsn))
            own.outbox = Outbox(own.directory / "data" / "outbox")
            return own

        yield start


def _end(process: Process) -> None:
    assert process.stop() == 0
    assert "Traceback" not in process.log, process.log
