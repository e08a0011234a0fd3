"""Schemathesis: what the protocol's document allows is taken, what it forbids is refused in the agreed form, nothing fails.

FUZZ_EXAMPLES=5000 makes the search longer; by default it takes some seconds per route.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from conftest import Server
from device import Device
from routes.calls import ORIGIN, basic, bearer
from routes.refusals import INSIDE
from sync_server import admin
from users import Connection, User
from wire import Wire

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    status_code_conformance,
    response_schema_conformance,
]


def _of_main() -> dict[str, Any]:
    """The document, with one realm to call."""
    found: dict[str, Any] = msgspec.yaml.decode((Path(admin.__file__).parent / "devices.yaml").read_bytes())
    found["components"]["parameters"]["realm"]["schema"] = {"const": "main"}
    found["paths"] = {path: item for path, item in found["paths"].items() if "{realm}" in path}
    return found


schema = schemathesis.openapi.from_dict(_of_main())


@pytest.fixture(scope="module")
def phone(server: Server, wire: Wire, connections: dict[str, Connection]) -> Device:
    device = User(wire.send, server.realm, connections[server.realm]).device()
    device.login()
    return device


@schema.given(real=st.booleans(), begun=st.booleans())
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="FUZZ_EXAMPLES" not in os.environ,
)
def test_every_answer_is_as_documented(case: Case[Any], server: Server, phone: Device, real: bool, begun: bool) -> None:
    """`real`: the call names the client whose token it brings, where it names one; `begun`: a sync is under way."""
    if real:
        if "clientId" in case.path_parameters:
            case.path_parameters["clientId"] = phone.client_id
        if isinstance(case.body, dict) and "clientId" in case.body:
            case.body["clientId"] = phone.client_id
    if begun and case.operation.path.startswith("/push"):
        phone.cancel()
        phone.pull([], 0)
    authorization = basic(phone) if case.operation.path == "/login/{realm}" else bearer(phone)
    headers = {"Origin": ORIGIN, "Authorization": authorization}
    response = case.call(base_url=server.url, headers=headers)
    # where the document leaves a choice of shapes, schemathesis takes what is wrong in one of them for wrong
    sure = not real and not case.operation.path.startswith(("/pull", "/push"))
    case.validate_response(response, checks=[*CHECKS, negative_data_rejection] if sure else CHECKS)
    if response.status_code >= 400:
        assert response.json()["code"] == response.status_code
        assert response.headers["access-control-allow-origin"] == ["*"]
        assert not INSIDE.search(response.text), response.text
