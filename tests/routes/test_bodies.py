"""What is no JSON, or JSON of another shape, is refused on every route, with the field's path (G11)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from device import Device
from routes.calls import CALLS, Call, Http, chunk
from routes.refusals import refusal
from users import User

HOLE = b"[" * 200_000
MALFORMED = {
    "nothing": b"",
    "blank": b" \n",
    "a word": b"hello",
    "half of it": b'{"clientId": "1',
    "two of them": b"{}{}",
    "single quotes": b"{'email': 'a@b.c'}",
    "no UTF-8": b'{"email": "\xff\xfe", "clientId": "\xff"}',
    "a surrogate in UTF-8": b'{"email": "\xed\xa0\x80"}',
    "UTF-16": '{"email": "a@b.c"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a raw control character": b'{"email": "a\nb"}',
    "a NUL": b"\x00",
    "NaN": b'{"x": NaN}',
    "Infinity": b'{"x": -Infinity}',
    "a number with a leading zero": b'{"x": 01}',
    "a trailing comma": b'{"x": 1,}',
    "a comment": b"{} // that is all",
    "a key that is no string": b'{1: "x"}',
    "deep nesting": b'{"x": ' + HOLE,
    "deep nesting that ends": b'{"x": ' + HOLE + HOLE.replace(b"[", b"]") + b"}",
    "deep objects": b'{"x":' * 200_000,
}
NO_OBJECT = [b"null", b"[]", b"[{}]", b"7", b"-1e5", b'"text"', b"true"]


@pytest.fixture
def phone(user: User) -> Device:
    device = user.device()
    device.login()
    return device


def send(http: Http, call: Call, body: Any) -> Any:
    return http.make(replace(call, body=body))


@pytest.mark.parametrize(
    ("call", "body"),
    # a cancelSync may come without a body
    [(call, body) for call in CALLS for body in MALFORMED if (call, body) != ("cancelSync", "nothing")],
)
def test_what_is_no_json_is_refused(http: Http, phone: Device, call: str, body: str) -> None:
    answer = send(http, CALLS[call](phone), MALFORMED[body])
    refusal(answer, 400)
    if not MALFORMED[body].startswith(b"{}"):  # which lacks fields before it is malformed
        assert answer.json()["error"] == "malformed_body"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", NO_OBJECT, ids=bytes.decode)
def test_what_is_no_object_is_refused(http: Http, phone: Device, call: str, body: bytes) -> None:
    assert "object" in refusal(send(http, CALLS[call](phone), body), 400, "invalid_body")


REQUIRED = {
    "register": ["email", "password", "clientId"],
    "login": ["clientId"],
    "refreshToken": ["refreshToken"],
    "unregister": ["email", "password", "clientId"],
    "forgotten": ["email"],
    "change": ["email", "pin", "password"],
}
FIELDS = [(call, field) for call, fields in REQUIRED.items() for field in fields]


@pytest.mark.parametrize(("call", "field"), FIELDS)
def test_a_missing_field_is_named(http: Http, phone: Device, call: str, field: str) -> None:
    made = CALLS[call](phone)
    body = {name: value for name, value in made.body.items() if name != field}
    assert field in refusal(send(http, made, body), 400, "invalid_body")


TEXTS = [*FIELDS, ("register", "name"), ("register", "language")]
OPTIONAL = [("login", "clientId"), ("register", "name"), ("register", "language"), ("change", "password")]
WRONG: dict[str, Any] = {"an integer": 7, "a fraction": 1.5, "true": True, "a list": ["a@b.c"], "an object": {"a": 1}}


@pytest.mark.parametrize(
    ("call", "field", "value"),
    [
        (*text, value)
        for text in TEXTS
        for value in (*WRONG, "null")
        if (text, value) != (("change", "pin"), "an integer") and not (value == "null" and text in OPTIONAL)
    ],
)
def test_a_wrong_type_is_refused_with_its_path(http: Http, phone: Device, call: str, field: str, value: str) -> None:
    made = CALLS[call](phone)
    message = refusal(send(http, made, {**made.body, field: WRONG.get(value)}), 400, "invalid_body")
    assert f"`$.{field}`" in message


@pytest.mark.parametrize(
    ("call", "field"),
    [("register", "newRegistration"), ("unregister", "deleteRemoteData")],
)
@pytest.mark.parametrize("value", ["true", 1, [], {}])
def test_so_is_what_is_no_truth_value(http: Http, phone: Device, call: str, field: str, value: Any) -> None:
    made = CALLS[call](phone)
    assert f"`$.{field}`" in refusal(send(http, made, {**made.body, field: value}), 400, "invalid_body")


LONG = [
    ("register", "name", 256),
    ("register", "email", 256),
    ("register", "password", 1025),
    ("register", "language", 100),
    ("register", "clientId", 10_000),
    ("register", "clientDescription", 1_000_000),
    ("login", "clientId", 10_000),
    ("unregister", "email", 256),
    ("unregister", "password", 1025),
    ("unregister", "clientId", 10_000),
    ("forgotten", "email", 256),
    ("change", "email", 256),
    ("change", "password", 1025),
]


@pytest.mark.parametrize(("call", "field", "length"), LONG)
def test_too_long_a_text_is_refused_with_its_path(
    http: Http, phone: Device, call: str, field: str, length: int
) -> None:
    made = CALLS[call](phone)
    message = refusal(send(http, made, {**made.body, field: "x" * length}), 400, "invalid_body")
    assert f"`$.{field}`" in message


NUL = [
    ("register", "email"),
    ("register", "name"),
    ("register", "language"),
    ("register", "clientDescription"),
    ("unregister", "email"),
    ("forgotten", "email"),
    ("change", "email"),
]


@pytest.mark.parametrize(("call", "field"), NUL)
@pytest.mark.parametrize("new", [True, False])
def test_a_nul_that_would_have_to_be_stored_is_refused(
    http: Http, phone: Device, call: str, field: str, new: bool
) -> None:
    made = CALLS[call](phone)
    body = {**made.body, "newRegistration": new, field: "a\0b@example.com"}
    assert f"`$.{field}`" in refusal(send(http, made, body), 400, "invalid_body")


@pytest.mark.parametrize(("call", "field"), [*FIELDS, ("pull", "clientId"), ("cancelSync", "clientId")])
@pytest.mark.parametrize(
    "value", ['"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\uffff"', '"😀\\u202e"', '"\\"', '""']
)
def test_strange_text_is_no_mistake_of_the_server(http: Http, phone: Device, call: str, field: str, value: str) -> None:
    made = CALLS[call](phone)
    body = json.dumps({**made.body, field: "@@"}).replace('"@@"', value).encode()
    answer = send(http, made, body)
    assert answer.status_code in (400, 403, 409) or (call, answer.status_code) == ("forgotten", 200), answer.text
    if answer.status_code != 200:
        refusal(answer, answer.status_code)


NUMBERS = ["9" * 5000, "-" + "9" * 5000, "1e400", "-1e400", "1" + "0" * 30, "1e-400", "0.1", "-0", "1E5"]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize(
    ("call", "field"),
    [
        *((call, field) for call in ("pull", "push") for field in ("lastSync", "isPartial", "chunkIndex")),
        *(("register", field) for field in ("clientDescription", "unknown")),
        ("change", "pin"),
    ],
)
def test_no_number_is_a_mistake_of_the_server(http: Http, phone: Device, call: str, field: str, number: str) -> None:
    made = CALLS[call](phone)
    body = json.dumps({**made.body, field: "@@"}).replace('"@@"', number).encode()
    answer = send(http, made, body)
    assert answer.status_code in (200, 400, 403, 409), answer.text
    if answer.status_code != 200:
        refusal(answer, answer.status_code)


@pytest.mark.parametrize("call", CALLS)
def test_a_key_that_stands_twice_is_no_mistake_of_the_server(http: Http, phone: Device, call: str) -> None:
    made = CALLS[call](phone)
    twice = json.dumps(made.body)[:-1] + "," + json.dumps(made.body)[1:]
    assert send(http, made, twice.encode()).status_code in (200, 403, 409)


@pytest.mark.parametrize("field", ["rowguid", "tablename"])
@pytest.mark.parametrize("text", ["\0", "a\0", "\ud800", "\udc00\ud800", "\udfff😀"])
def test_a_key_that_cannot_be_stored_holds_nothing_up(http: Http, phone: Device, field: str, text: str) -> None:
    good = {"operation": "U", "rowguid": "1", "tablename": "todos", "clientdate": 1, "rowData": {"a": "\ud800\0"}}
    syncs(http, phone, [good, {**good, field: text}])


@pytest.mark.parametrize("value", [7, None, [], "x" * 256])
def test_a_key_in_the_readmes_form_holds_nothing_up(http: Http, phone: Device, value: Any) -> None:
    syncs(http, phone, [{"operation": "insert", "table": "todos", "data": {"guid": value}}])


def syncs(http: Http, phone: Device, changes: list[Any]) -> None:
    for call in ("cancelSync", "pull", "push"):
        body = {} if call == "cancelSync" else {"changes": changes}
        answer = http.post(f"/{call}/main", body, f"Bearer {phone.state.access}")
        assert answer.status_code == 200, answer.text


PART = ["chunkIndex", "chunks", "data", "syncId"]
VALUES = [*WRONG.values(), None, 10**40, -1, "\0"]
ALLOWED = [("data", "\0"), ("chunks", 7), *(("syncId", value) for value in VALUES if isinstance(value, int))]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in PART for value in VALUES if (field, value) not in ALLOWED],
)
def test_a_part_with_a_wrong_type_is_refused_with_its_path(http: Http, phone: Device, field: str, value: Any) -> None:
    body = {**chunk({"lastSync": 0}, 0, 2), field: value}
    answer = http.post("/pull/main", body, f"Bearer {phone.state.access}")
    assert f"`$.{field}`" in refusal(answer, 400, "invalid_body")


@pytest.mark.parametrize(("field", "value"), ALLOWED)
def test_what_else_a_part_may_say(http: Http, phone: Device, field: str, value: Any) -> None:
    """Clients may number their uploads."""
    body = {**chunk({"lastSync": 0}, 0, 2), field: value}
    assert http.post("/pull/main", body, f"Bearer {phone.state.access}").status_code == 206
