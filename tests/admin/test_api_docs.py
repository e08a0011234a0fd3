"""The OpenAPI document: it tells of everything, needs nothing from elsewhere, and what it says is so."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from litestar import Litestar, get
from litestar.routes import HTTPRoute
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from admin.people import NewPerson, Person
from admin.test_roles import application
from routes.refusals import INSIDE
from sync_server.accounts.roles import Role
from sync_server.admin.description import CONFIG, Description
from sync_server.admin.envelope import Success
from sync_server.admin.permissions import anybody
from sync_server.app import create_app
from sync_server.config import Config, Database

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
CHECKS = [not_a_server_error, content_type_conformance, status_code_conformance, response_schema_conformance]


@cache
def document() -> dict[str, Any]:
    """As `/api-docs/openapi.json` has it."""
    found: dict[str, Any] = application().described.make()
    return found


@get("/api/v1/thing", opt=anybody())
async def thing() -> Success[str]:
    """A route."""
    return Success("")


def test_it_is_made_once_and_whoever_asks_for_it_meanwhile_holds_up_nobody() -> None:
    made, go_on = [], threading.Event()

    def described() -> Litestar:
        made.append(threading.current_thread())
        if len(made) == 1:
            raise OSError("no luck")
        assert go_on.wait(60)
        return Litestar([thing], openapi_config=CONFIG)

    async def asking() -> list[bytes]:
        description = Description(described)
        with pytest.raises(OSError, match="no luck"):
            await description.json()
        calls = [asyncio.ensure_future(each()) for each in (description.json, description.yaml) for _ in range(50)]
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.to_thread(int), 30)  # they do not hold the threads that others need
        go_on.set()
        return await asyncio.gather(*calls)

    found = asyncio.run(asking())
    assert len(made) == 2, "once it failed"
    assert len(set(found[:50])) == len(set(found[50:])) == 1


def of_one_realm() -> dict[str, Any]:
    """The admin API's part, with the one realm there is to call."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document()))
    found["paths"] = {path: item for path, item in found["paths"].items() if path.startswith("/api/v1")}
    for item in found["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "realm":
                    parameter |= {"schema": {"const": "main"}, "example": "main"}
    return found


schema = schemathesis.openapi.from_dict(of_one_realm())


@pytest.fixture(scope="module")
def owner(new_person: NewPerson) -> Person:
    return new_person("owner")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="FUZZ_EXAMPLES" not in os.environ,
)
def test_every_answer_is_as_documented(case: Case[Any], http: httpx.Client, owner: Person) -> None:
    headers = {"Authorization": f"Bearer {owner.token}"}
    response = case.call(base_url=str(http.base_url).rstrip("/"), headers=headers)
    case.validate_response(response, checks=CHECKS)
    assert response.status_code < 400 or not INSIDE.search(response.text), response.text
    if case.operation.path.endswith("/logout"):
        owner.signed_in()


def test_the_document_tells_of_every_route(tmp_path: Any) -> None:
    """Those of the server's other application are in devices.yaml."""
    served = create_app(Config(Database(realms={}), base=tmp_path), {})
    routes = {
        (method.lower(), route.path_format if app is not served else route.path_format.replace("client_id", "clientId"))
        for app in (served, application().app)
        for route in app.routes
        if isinstance(route, HTTPRoute) and not route.path.startswith("/api-docs")
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    routes = {(method, path.replace("{realm_name}", "{realm}")) for method, path in routes}
    told = {(method, path) for path, item in document()["paths"].items() for method in item}
    assert told == routes


def test_every_operation_says_what_it_is() -> None:
    names = []
    for path, item in document()["paths"].items():
        for operation in item.values():
            names.append(operation["operationId"])
            assert operation["summary"].endswith("."), names[-1]
            assert operation["tags"]
            assert any(status.startswith("2") for status in operation["responses"])
            if path.startswith("/api/v1"):
                assert "503" in operation["responses"]
                assert "security" in operation or path.startswith("/api/v1/auth/")
    assert len(names) == len(set(names))


def test_every_schema_is_one() -> None:
    text = msgspec.json.encode(document()).decode()
    for name, each in document()["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **each}), name
    for part, name in set(re.findall(r'"#/components/(\w+)/(\w+)"', text)):
        assert name in document()["components"][part]
    assert "sync_server" not in text, "names of modules are nobody's business"


def test_roles_are_told() -> None:
    assert set(document()["components"]["schemas"]["Role"]["enum"]) == set(Role)
    found = document()["paths"]["/api/v1/realms/{realm}/users"]["post"]["description"]
    assert "Needs the role `admin` in the realm." in found


def test_the_document_and_its_page_come_from_the_server_alone(http: httpx.Client) -> None:
    as_json = http.get("/api-docs/openapi.json")
    assert as_json.json() == document()
    assert as_json.headers["Content-Type"] == "application/json"
    as_yaml = http.get("/api-docs/openapi.yaml")
    assert msgspec.yaml.decode(as_yaml.content) == document()
    for path in ("/api-docs", "/api-docs/"):
        page = http.get(path)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert not re.search(r"(?:https?:)?//", page.text), "nothing from elsewhere"
        for name in re.findall(r'(?:src|href|url)[=:] ?"(/[^"]+)"', page.text):
            found = http.get(name)
            assert found.is_success
            assert len(found.content) > 10_000
    assert http.get("/api-docs/swagger-ui.css").headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("name", ["nothing", "..%2f..%2fetc%2fpasswd", "%2e%2e", "core.py", "%00", "swagger-ui.css/x"])
def test_there_are_no_other_files(http: httpx.Client, name: str) -> None:
    assert http.get(f"/api-docs/{name}").status_code == 404
