"""Flutter web: every answer may be read by a page of another origin, errors too, and preflights pass."""

from __future__ import annotations

import pytest

from conftest import Process
from device import Device
from routes.calls import CALLS, ORIGIN, Http, bearer, chunk
from users import User

ASKED = "authorization,content-encoding,content-type"


@pytest.fixture
def phone(user: User) -> Device:
    device = user.device()
    device.login()
    return device


@pytest.mark.parametrize("call", CALLS)
def test_a_preflight_passes(http: Http, phone: Device, call: str) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ASKED,
    }
    answer = http.client.request("OPTIONS", CALLS[call](phone).path, headers=headers)
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    allowed = {method.strip() for method in answer.headers["Access-Control-Allow-Methods"].split(",")}
    assert "POST" in allowed
    names = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert set(ASKED.split(",")) <= names  # "*" would not allow Authorization (Fetch standard, 4.9)


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_may_be_read_by_any_page(http: Http, phone: Device, call: str) -> None:
    answer = http.make(CALLS[call](phone))
    assert answer.status_code in (200, 403, 409)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_so_may_what_is_not_a_plain_success(http: Http, phone: Device, peculiar: Process) -> None:
    """One of each kind of refusal, wherever in the server it comes from."""
    token, path = bearer(phone), f"/pull/{phone.realm}"
    http.post(path, {"lastSync": 0}, token)
    answers = {
        206: http.post(path, chunk({"lastSync": 0}, 0, 2), token),
        400: http.post(path, b"{", token),
        403: http.post(path, {}),
        404: http.post("/nothing", {}),
        405: http.client.get(path, headers={"Origin": ORIGIN}),
        409: http.post(path, {"lastSync": 1}, token),
        413: http.post(path, b" " * (9 * 1024 * 1024), token),
        415: http.post(path, {}, token, Content_Encoding="br"),
        503: http.client.post(
            peculiar.url + "/password/down/forgotten", json={"email": "ann@example.com"}, headers={"Origin": ORIGIN}
        ),
    }
    assert {status: answer.status_code for status, answer in answers.items()} == {status: status for status in answers}
    for answer in answers.values():
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for call in CALLS.values():
        made = call(phone)
        answer = http.post(made.path.replace("/main", "/nowhere"), made.body, made.authorization)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (404, "*")


def test_it_is_on_answers_to_requests_without_an_origin_too(http: Http) -> None:
    """A shared cache may give them to a page."""
    for method, path in [("GET", "/"), ("GET", "/pull/main"), ("POST", "/nowhere"), ("POST", "/pull/main")]:
        answer = http.client.request(method, path)
        assert answer.headers.get_list("Access-Control-Allow-Origin") == ["*"], path
        with_origin = http.client.request(method, path, headers={"Origin": ORIGIN})
        assert with_origin.headers.get_list("Access-Control-Allow-Origin") == ["*"], path
