"""Paths and methods: what there is, and how what there is not is refused (G11)."""

from __future__ import annotations

import pytest

from device import Device
from routes.calls import CALLS, ORIGIN, Http
from routes.refusals import refusal
from users import User

UNKNOWN = [
    "/nothing",
    "/pull",
    "/pull/",
    "/login",
    "/login/main/refreshtoken",
    "/login/main/refreshToken/more",
    "/password/main",
    "/password/main/unknown",
    "/register/main/more",
    "/cancelSync/main/more",
    "/cancelsync/main",
    "/PULL/main",
    "/pull/main/1/2",
    "/main/pull",
    "/schema",
    "/schema/openapi.json",
    "/..%2f..%2fetc%2fpasswd",
    "/%ff%fe",
    "/%00",
    "/" + "x" * 10_000,
]
NAMES = [
    "nowhere",
    "%00",
    "%ff",
    "%2e%2e%2f",
    "main%20",
    "main%00",
    "'; DROP TABLE",
    "x" * 5000,
    "😀",
    "${HOME}",
    "__proto__",
]
METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"]


@pytest.fixture
def phone(user: User) -> Device:
    device = user.device()
    device.login()
    return device


def test_the_server_greets(http: Http) -> None:
    answer = http.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    head = http.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert 0 < len(answer.text) < 200


@pytest.mark.parametrize("path", UNKNOWN, ids=lambda path: path[:30])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_404(http: Http, path: str, method: str) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": "application/json"}
    refusal(http.client.request(method, path, headers=headers, content=b"{}"), 404, "not_found")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_an_unknown_realm_is_404(http: Http, phone: Device, call: str, name: str) -> None:
    made = CALLS[call](phone)
    path = made.path.replace("/main", f"/{name}")
    answer = http.post(path, made.body, made.authorization)
    refusal(answer, 404)
    if name == "nowhere":
        refusal(answer, 404, "unknown_realm")


@pytest.mark.parametrize("call", CALLS)
def test_the_realm_is_read_without_regard_to_case(http: Http, phone: Device, call: str) -> None:
    made = CALLS[call](phone)
    answer = http.post(made.path.replace("/main", "/MAIN"), made.body, made.authorization)
    assert answer.status_code != 404


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("method", METHODS)
def test_another_method_is_405(http: Http, phone: Device, call: str, method: str) -> None:
    made = CALLS[call](phone)
    headers = {"Origin": ORIGIN, "Content-Type": "application/json", "Authorization": made.authorization or ""}
    answer = http.client.request(method, made.path, headers=headers, content=b"{}")
    assert "POST" in answer.headers["Allow"]
    if method == "HEAD":
        assert (answer.status_code, answer.content) == (405, b"")
    else:
        refusal(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_greeting_is_for_get(http: Http, method: str) -> None:
    answer = http.client.request(method, "/", headers={"Origin": ORIGIN, "Content-Type": "application/json"})
    refusal(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("call", ["pull", "push"])
@pytest.mark.parametrize(
    "client", ["x", "%00", "1" * 5000, "00000000-0000-4000-8000-00000000000g", "{}", "%F0%9F%98%80"]
)
def test_a_client_in_the_path_that_is_no_uuid_is_refused(http: Http, phone: Device, call: str, client: str) -> None:
    answer = http.post(f"/{call}/main/{client}", {"lastSync": 0}, f"Bearer {phone.state.access}")
    assert "UUID" in refusal(answer, 400, "invalid_body")
