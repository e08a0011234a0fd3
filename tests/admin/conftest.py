"""What the tests of the admin API have in common."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from admin.people import NewPerson, Person, make
from conftest import Server
from sync.conftest import connections, new_user, stranger, user, wire
from sync_server.accounts.roles import Role
from users import Connection

__all__ = ["connections", "new_user", "stranger", "user", "wire"]


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def new_person(server: Server, http: httpx.Client, connections: dict[str, Connection]) -> NewPerson:
    def new(role: str = "admin", realm: str = server.realm, name: str = "Ann") -> Person:
        person = make(http, connections[realm], realm, Role(role), name=name)
        return person.signed_in() if person.role.covers(Role.VIEWER) else person

    return new


@pytest.fixture(scope="session")
def admin(new_person: NewPerson) -> Person:
    return new_person()
