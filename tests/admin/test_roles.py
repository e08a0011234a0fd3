"""Who may do what: every route for every role, and the realm that a role is for."""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from admin.people import NewPerson, Person, refused
from sync_server.accounts.roles import Role
from sync_server.admin import permissions
from sync_server.admin.app import Made
from sync_server.app import create_app
from sync_server.config import Config, Database, RealmSettings, Secret


@cache
def application() -> Made:
    """The API as it is served; nothing is opened."""
    with tempfile.TemporaryDirectory() as directory:
        url = "postgresql://nobody@127.0.0.1:1/nothing"
        config = Config(Database({"main": RealmSettings(Secret(url))}), base=Path(directory))
        made: Made = create_app(config, {"main": url}).state["admin"].make()
    return made


TABLE = {route: needed for route, needed in permissions.table(application().app).items() if "/api/v1" in route[1]}
ROUTES = sorted(TABLE)


@pytest.fixture(scope="module")
def everybody(new_person: NewPerson) -> dict[Role, Person]:
    return {role: new_person(role) for role in Role if role.covers(Role.VIEWER)}


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_every_route_is_for_whom_it_says(
    everybody: dict[Role, Person], http: httpx.Client, route: tuple[str, str]
) -> None:
    """Whoever may, gets as far as that there is no such thing, or that the body is missing."""
    method, path = route
    path = re.sub(r"{\w+}", str(uuid4()), path.replace("{realm_name}", "main"))
    needed = TABLE[route]
    without = http.request(method, path)
    if needed is None:
        assert without.status_code != 403, without.text
        return
    refused(without, 401, "unauthenticated")
    allowed = set()
    for role, person in everybody.items():
        answer = person.call(method, path.removeprefix("/api/v1"))
        if answer.status_code == 403:
            assert refused(answer, 403, "forbidden") == {"needed": str(needed)}
        else:
            assert answer.status_code != 401, answer.text
            allowed.add(role)
        if path.endswith("/logout"):
            person.signed_in()
    assert allowed == {role for role in everybody if role.covers(needed)}


def test_a_role_is_for_one_realm(new_person: NewPerson) -> None:
    for role in ("viewer", "technician", "admin"):
        for realm in ("other", "nowhere", "Other", "%00"):
            answer = new_person(role).call("GET", f"/realms/{realm}/users")
            refused(answer, 403, "forbidden")
    assert new_person("viewer", realm="other").call("GET", "/realms/OTHER/users").is_success


def test_an_owner_may_do_everything_in_all_realms(new_person: NewPerson) -> None:
    owner = new_person("owner")
    assert owner.get("/auth/me")["role"] == "owner"
    for realm in ("main", "other", "OTHER"):
        assert owner.call("GET", f"/realms/{realm}/users").is_success
    for realm in ("nowhere", "%00", "x" * 300):
        refused(owner.call("GET", f"/realms/{realm}/users"), 404, "unknown_realm")


def test_an_owner_of_another_realm_is_an_admin_there(new_person: NewPerson) -> None:
    """Who may write one realm's database must not become master of all."""
    owner = new_person("owner", realm="other")
    assert owner.get("/auth/me")["role"] == "admin"
    assert owner.call("GET", "/realms/other/users").is_success
    refused(owner.call("GET", "/realms/main/users"), 403, "forbidden")


def test_a_role_that_was_taken_away_counts_at_once(new_person: NewPerson) -> None:
    owner = new_person("owner")
    owner.connection.execute("UPDATE sync.users SET role = 'viewer' WHERE id = %s", [owner.id])
    assert owner.get("/auth/me")["role"] == "viewer"
    refused(owner.call("GET", "/realms/other/users"), 403, "forbidden")


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1", "/api/v1/", "/api/v2/auth/me", "/api/v1/nothing", "/api/v1/auth/ME"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_there_is_not_is_404_in_the_same_form(http: httpx.Client, path: str, method: str) -> None:
    refused(http.request(method, path), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", "/auth/login"), ("PUT", "/auth/me"), ("DELETE", "/auth/refresh")])
def test_another_method_is_405(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, f"/api/v1{path}")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"]


def test_no_page_of_another_origin_may_read_an_answer(http: httpx.Client, admin: Person) -> None:
    """Unlike those to devices."""
    origin = {"Origin": "https://elsewhere.example.com"}
    answer = admin.call("GET", "/auth/me", headers=origin)
    asked = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for each in (answer, http.options("/api/v1/auth/me", headers=asked)):
        assert "access-control-allow-origin" not in each.headers
