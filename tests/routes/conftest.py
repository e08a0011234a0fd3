"""What the tests of the routes have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from conftest import Process, Server, start_server
from postgres import Postgres
from routes.calls import Http
from routes.world import World, build
from sync.conftest import connections, new_user, stranger, user, wire
from sync_server.keys import Keys
from users import Connection, User
from wire import Wire

__all__ = ["connections", "new_user", "stranger", "user", "wire"]

MAX_BODY = 8 * 1024 * 1024
"""The test server's."""


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[Http]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield Http(client)


@pytest.fixture(scope="session")
def keys(server: Server) -> Keys:
    return keys_of(server.data_dir)


def keys_of(data_dir: Path) -> Keys:
    """The keys that a server signs with."""
    stored = json.loads((data_dir / "secrets.json").read_text())
    return Keys(stored["secret_key"], stored["secret_key_refresh"])


@pytest.fixture(scope="session")
def new_world(server: Server, wire: Wire, connections: dict[str, Connection], keys: Keys) -> Callable[[], World]:
    def make() -> World:
        here, there = server.realm, server.other_realm
        home, other, abroad = (User(wire.send, realm, connections[realm]) for realm in (here, here, there))
        return build(home, other, abroad, keys)

    return make


@pytest.fixture
def world(new_world: Callable[[], World]) -> World:
    return new_world()


@pytest.fixture(scope="session")
def peculiar(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server with two realms on one database, a realm whose database is down, and a realm for the unknown ones."""
    shared = postgres.create_database("shared")
    realms = {"one": shared, "two": shared, "down": "postgresql://nobody@127.0.0.1:1/nothing"}
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": realms, "unknown_realms": "two"}}
    process = start_server(tmp_path_factory.mktemp("peculiar"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    yield process
    assert process.stop() == 0
    assert "Traceback" not in process.log
