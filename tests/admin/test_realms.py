"""Realms: which there are, how they are, and what happens while the database of one is down."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from admin.people import NewPerson, Person, data, make, refused
from conftest import Process, start_server
from postgres import Postgres
from sync_server.accounts.roles import Role
from users import User, look_into


def test_an_owner_sees_all_realms(new_person: NewPerson) -> None:
    owner = new_person("owner")
    found = owner.get("/realms")
    assert [realm["name"] for realm in found] == ["main", "other"]
    assert [realm["owners"] for realm in found] == [True, False]
    assert found[0]["app_name"] == "Test App"
    assert found[0]["served"] is True
    assert found[0]["pool"]["calls"] > 0
    assert "postgresql://" not in str(found)
    first = owner.call("GET", "/realms", params={"limit": 1}).json()
    second = owner.call("GET", "/realms", params={"limit": 1, "cursor": first["meta"]["pagination"]["next"]}).json()
    assert [realm["name"] for realm in first["data"] + second["data"]] == ["main", "other"]
    assert second["meta"]["pagination"] == {"next": None, "limit": 1, "total": 2}


def test_others_see_their_own_realm(new_person: NewPerson, user: User) -> None:
    viewer = new_person("viewer")
    before = viewer.get("/realms/main")["counts"]
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    found = viewer.get("/realms/MAIN")
    assert found["name"] == "main"
    assert found["counts"]["users"] >= before["users"] + 1
    assert found["counts"]["clients"] >= before["clients"] + 1
    assert found["counts"]["rows"] >= before["rows"] + 1
    assert (found["limits"]["clients_per_user"], found["retention"]["deleted"]) == (100, 30)
    assert found["retention"]["history"] is None
    assert found["size"] > 1_000_000
    assert found["health"]["answers"] is True
    assert 0 < found["health"]["ms"] < 2000


@pytest.fixture(scope="module")
def half(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> tuple[Process, str]:
    """A server of which one realm is down, and one is called as the API is; and the URL of the latter's database."""
    url = postgres.create_database("half")
    realms = {"api": url, "down": "postgresql://nobody@127.0.0.1:1/nothing"}
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": realms}, "admin": {"realm": "API"}}
    return start_server(tmp_path_factory.mktemp("half"), config), url


@pytest.fixture(scope="module")
def owner(half: tuple[Process, str]) -> Iterator[Person]:
    process, url = half
    with httpx.Client(base_url=process.url, timeout=60) as http, look_into(url) as connection:
        yield make(http, connection, "api", Role.OWNER).signed_in()
    assert process.stop() == 0
    assert "Traceback" not in process.log


def test_a_realm_that_is_down_is_said_to_be(owner: Person) -> None:
    assert [(realm["name"], realm["served"]) for realm in owner.get("/realms")] == [("api", True), ("down", False)]
    for path in ("/realms/down", "/realms/down/users"):
        answer = owner.call("GET", path)
        refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
    owner.realm, realm = "down", owner.realm
    refused(owner.login(), 503, "unavailable")
    owner.realm = realm


def test_a_realm_may_be_called_as_the_api_is(owner: Person) -> None:
    assert data(owner.call("GET", "/realms/api/users"))
    body = {"name": "Bob", "email": "bob@example.com", "password": "secret", "clientId": owner.id}
    assert owner.http.post("/register/api", json=body).status_code == 200
    assert owner.http.post("/pull/api", json={}).status_code == 403


def test_a_database_that_hangs_does_not_hold_up_the_answer(owner: Person, half: tuple[Process, str]) -> None:
    _, url = half
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE sync.rows IN ACCESS EXCLUSIVE MODE")
        found = owner.get("/realms/api")
    assert found["health"]["answers"] is True
    assert found["counts"]["users"] >= 1
    assert found["counts"]["rows"] is None
    assert found["counts"]["open_overridden"] == 0
    assert owner.get("/realms/api")["counts"]["rows"] == 0
