"""What the tests of the sync have in common: a connection pool, a look into the databases, users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from users import Connection, NewUser, User, look_into
from wire import Server, Wire


@pytest.fixture(scope="session")
def wire(server: Server) -> Iterator[Wire]:
    wire = Wire(server.url)
    yield wire
    wire.close()


@pytest.fixture(scope="session")
def connections(server: Server) -> Iterator[dict[str, Connection]]:
    with ExitStack() as stack:
        yield {realm: stack.enter_context(look_into(server.dsn(realm))) for realm in (server.realm, server.other_realm)}


@pytest.fixture
def new_user(server: Server, wire: Wire, connections: dict[str, Connection]) -> NewUser:
    """Make a user, in the main realm unless told otherwise."""

    def make(realm: str = server.realm) -> User:
        return User(wire.send, realm, connections[realm])

    return make


@pytest.fixture
def user(new_user: NewUser) -> User:
    return new_user()


@pytest.fixture
def stranger(new_user: NewUser) -> User:
    return new_user()
