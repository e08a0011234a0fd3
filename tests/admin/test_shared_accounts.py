"""Realms that share a database share accounts: no way round by the other realm's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest

from admin.people import Person, data, make, refused
from conftest import start_server
from postgres import Postgres
from sync_server.accounts.roles import Role
from users import Connection, look_into


@dataclass
class House:
    http: httpx.Client
    connection: Connection

    def person(self, role: Role) -> Person:
        """In both realms; signed in to the owners'."""
        return make(self.http, self.connection, "first", role).signed_in()

    def beside(self, person: Person) -> Person:
        """The same account, signed in to the other realm."""
        return replace(person, realm="second").signed_in()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[House]:
    url = postgres.create_migrated("shared_accounts")
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"first": url, "second": url}}}
    process = start_server(tmp_path_factory.mktemp("shared_accounts"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    with httpx.Client(base_url=process.url, timeout=60) as http, look_into(url) as connection:
        yield House(http, connection)
    assert process.stop() == 0


ACTIONS = [
    ("POST", "/reset-password"),
    ("POST", "/sign-out"),
    ("POST", "/remove-second-factor"),
    ("DELETE", ""),
    ("PATCH", ""),
]


@pytest.mark.parametrize(("method", "action"), ACTIONS)
def test_an_admin_does_nothing_to_an_owner(house: House, method: str, action: str) -> None:
    """`owner` comes to `admin` in the second realm, and is the same account as in the first."""
    owner, admin = house.person(Role.OWNER), house.beside(house.person(Role.ADMIN))
    body = {"json": {"active": False, "role": "user"}, "headers": {"If-Match": "*"}} if method == "PATCH" else {}
    path = f"/realms/second/users/{owner.id}{action}"
    assert refused(admin.call(method, path, **body), 403, "forbidden") == {"needed": "owner"}
    assert owner.get("/auth/me")["role"] == "owner"


@pytest.mark.parametrize(("method", "action"), ACTIONS[2:])
def test_nobody_does_by_the_other_realm_what_they_may_not_do_to_themselves(
    house: House, method: str, action: str
) -> None:
    owner = house.person(Role.OWNER)
    body = {"json": {"active": False}, "headers": {"If-Match": "*"}} if method == "PATCH" else {}
    refused(owner.call(method, f"/realms/second/users/{owner.id}{action}", **body), 409, "own_account")
    assert owner.get("/auth/me")["role"] == "owner"


def test_the_others_are_handled_as_ever(house: House) -> None:
    admin, other = house.beside(house.person(Role.ADMIN)), house.person(Role.TECHNICIAN)
    assert data(admin.call("POST", f"/realms/second/users/{other.id}/sign-out")) is None
