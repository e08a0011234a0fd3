"""A server whose realms differ: `tight` has narrow limits, `crowded` takes two syncs at a time, `main` has the defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from conftest import Process, start_server
from postgres import Postgres
from users import Connection, User, look_into
from wire import Wire

TIGHT = {
    "row": 2000,
    "rows_per_push": 20,
    "clients_per_user": 2,
    "clients_give_way": 30,
    "kept_aside": 7000,
}
REALMS = ("main", "tight", "crowded")
NewUser = Callable[..., User]


@pytest.fixture(scope="module")
def process(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    urls = {realm: postgres.create_migrated(f"{realm}_{uuid4().hex[:8]}") for realm in REALMS}
    config = {
        "server": {"bcrypt_rounds": 4},
        "limits": {"syncs": 2},
        "db": {
            "realms": {
                "main": {"url": urls["main"], "limits": {"syncs": 1000}},
                "tight": {"url": urls["tight"], "limits": {**TIGHT, "syncs": 1000}},
                "crowded": urls["crowded"],
            }
        },
    }
    process = start_server(tmp_path_factory.mktemp("limited"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    yield process
    assert process.stop() == 0
    assert '"fault"' not in process.log


@pytest.fixture(scope="module")
def connections(process: Process) -> Iterator[dict[str, Connection]]:
    with ExitStack() as stack:
        found = {}
        for name, settings in process.config["db"]["realms"].items():
            found[name] = stack.enter_context(look_into(settings if isinstance(settings, str) else settings["url"]))
        yield found


@pytest.fixture
def new_user(process: Process, connections: dict[str, Connection]) -> Iterator[NewUser]:
    wire = Wire(process.url)
    yield lambda realm="tight": User(wire.send, realm, connections[realm])
    wire.close()


@pytest.fixture
def user(new_user: NewUser) -> User:
    """In the realm with narrow limits."""
    return new_user()
