"""Anything at all, and bodies that are nearly right, on every route: plain, gzipped, broken. Nothing fails (G11).

FUZZ_EXAMPLES=20000 makes the search longer; by default it takes some ten seconds.
"""

from __future__ import annotations

import base64
import binascii
import copy
import gzip
import json
import os
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Server
from device import Device
from routes.calls import CALLS, TOKEN_CALLS, Call, Http
from routes.refusals import refusal
from users import Connection, User
from wire import Wire

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
STATUSES = {200, 206, 400, 403, 409, 413, 415}
EVERY = {**TOKEN_CALLS, **CALLS}
FIELDS = sorted(
    {"changes", "operation", "rowguid", "tablename", "clientdate", "rowData", "table", "data", "guid", "lastSync"}
    | {"lastSyncTime", "isPartial", "clientId", "chunkIndex", "chunks", "syncId", "email", "password", "newPassword"}
    | {"pin", "name", "language", "clientDescription", "newRegistration", "deleteRemoteData", "refreshToken"}
)

nasty = st.sampled_from(
    ["", "\0", "a\0b@c.d", "\ud800", "\udc00\ud800", "I", "D", "insert", "a@b.c", "null", "{}", "\\u0000", "\ufffe"]
    + ["x" * size for size in (255, 256, 1025, 20_000)]
)
texts = st.text(st.characters(exclude_categories=()), max_size=20) | nasty
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400, 8_640_000_000_000_001])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | texts, inner, max_size=4),
    max_leaves=12,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [place for key, member in pairs for place in ((value, key), *places(member))]


@st.composite
def spoilt(draw: st.DrawFn, body: dict[str, Any]) -> Any:
    """`body` with a few members replaced, removed, added or moved."""
    root = {"body": copy.deepcopy(body)}
    for _ in range(draw(st.integers(1, 4))):
        container, key = draw(st.sampled_from(places(root)))
        what = draw(st.sampled_from(["replace", "remove", "add", "wrap", "take"]))
        if isinstance(container[key], str) and what != "remove":
            container[key] = draw(nasty | values)
        elif what == "replace":
            container[key] = draw(values)
        elif what == "remove" and container is not root:
            del container[key]
        elif what == "add" and isinstance(container[key], dict):
            container[key][draw(st.sampled_from(FIELDS))] = draw(values)
        elif what == "wrap":
            container[key] = draw(
                st.sampled_from([[container[key]], {"a": container[key]}, json.dumps(container[key])])
            )
        elif what == "take":
            other, at = draw(st.sampled_from(places(root)))
            container[key] = copy.deepcopy(other[at])
    return root["body"]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` cut off, with bytes changed, or with bytes put in."""
    at = draw(st.integers(0, len(data)))
    what = draw(st.sampled_from(["cut", "change", "put in", "repeat"]))
    if what == "cut":
        return data[:at]
    if what == "repeat":
        return data[:at] + data
    return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at + (what == "change") :]


@st.composite
def bodies(draw: st.DrawFn, body: dict[str, Any]) -> bytes:
    kind = draw(st.sampled_from(["spoilt", "spoilt", "spoilt", "damaged", "value", "bytes"]))
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    text = json.dumps(draw(values) if kind == "value" else body if kind == "damaged" else draw(spoilt(body))).encode()
    return draw(damaged(text)) if kind == "damaged" else text


@pytest.fixture(scope="module")
def phone(server: Server, wire: Wire, connections: dict[str, Connection]) -> Device:
    device = User(wire.send, server.realm, connections[server.realm]).device()
    device.login()
    return device


@pytest.fixture(scope="module")
def right(phone: Device) -> dict[str, Call]:
    """Every call as it would be right; always the same, or hypothesis could repeat nothing."""
    calls = {name: make(phone) for name, make in sorted(EVERY.items())}
    for name in ("pull", "pull, client in the path"):
        calls[name].body["changes"] = calls["push"].body["changes"]
    for name in ("unregister", "unregister, all data"):
        calls[name].body["password"] = "not this"  # or a body that is right by chance would end the test
    return calls


@given(call=st.sampled_from(sorted(EVERY)), begun=st.booleans(), data=st.data())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
def test_no_body_is_a_mistake_of_the_server(
    http: Http, right: dict[str, Call], call: str, begun: bool, data: st.DataObject
) -> None:
    made = right[call]
    if begun:  # as far as it must be for this call to be taken
        http.post("/cancelSync/main", {}, right["cancelSync"].authorization)
        if call.startswith("push"):
            http.post("/pull/main", {}, right["pull"].authorization)
    body = data.draw(bodies(made.body), label="body")
    headers = {}
    if data.draw(st.booleans(), label="gzip"):
        body = gzip.compress(body, mtime=0)
        headers["Content_Encoding"] = "gzip"
        if data.draw(st.integers(0, 4), label="sound gzip") == 0:
            body = data.draw(damaged(body), label="gzip file")
    answer = http.post(made.path, body, made.authorization, **headers)
    assert answer.status_code in STATUSES, answer.text
    if answer.status_code in (200, 206):
        assert isinstance(answer.json(), dict)
    else:
        refusal(answer, answer.status_code)


@given(authorization=st.binary(max_size=60) | st.text(max_size=60).map(str.encode), call=st.sampled_from(sorted(EVERY)))
@settings(max_examples=EXAMPLES // 4, deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ)
def test_no_authorization_is_a_mistake_of_the_server(
    http: Http, right: dict[str, Call], authorization: bytes, call: str
) -> None:
    for scheme in (b"", b"Bearer ", b"Basic "):
        header = scheme + authorization.translate(None, bytes([*range(32), 127]))
        headers = {b"Content-Type": b"application/json", b"Origin": b"x", b"Authorization": header.strip()}
        answer = http.client.post(right[call].path, json=right[call].body, headers=headers)
        if call in TOKEN_CALLS or call == "login":
            refusal(answer, 403)
        else:
            assert answer.status_code in (200, 403)


def meaning(token: bytes) -> tuple[bytes, bytes]:
    """What is signed, and the signature: its last character has bits that mean nothing."""
    signed, _, signature = token.rpartition(b".")
    with suppress(binascii.Error):
        signature = base64.urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
    return signed, signature


@given(parts=st.lists(st.binary(max_size=40), min_size=1, max_size=4), data=st.data())
@settings(max_examples=EXAMPLES // 4, deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ)
def test_no_token_is_a_mistake_of_the_server(
    http: Http, right: dict[str, Call], parts: list[bytes], data: st.DataObject
) -> None:
    """A right token with some of its bytes changed is no token."""
    made = right["pull"]
    assert made.authorization is not None
    token = made.authorization.encode()[7:]
    changed = data.draw(damaged(token) | st.just(b".".join(parts)), label="token")
    changed = changed.translate(None, bytes([*range(33), 127]))
    answer = http.client.post(
        made.path,
        json=made.body,
        headers={
            b"Content-Type": b"application/json",
            b"Origin": b"x",
            b"Authorization": (b"Bearer " + changed).strip(),
        },
    )
    if answer.status_code in (200, 409):
        assert meaning(changed) == meaning(token)
    else:
        refusal(answer, 403)
    body = {"refreshToken": changed.decode("latin-1")}
    refusal(http.post("/login/main/refreshToken", body), 403)
