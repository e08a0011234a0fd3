"""G11: a refusal says why, with the right status, and nothing is half-done or shown that concerns nobody."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from device import Device
from users import User
from wire import Server

ALLOWED = {400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503}
INTERNAL = ["traceback", "psycopg", "select ", "insert ", "sync.", ".py", "/src", "/usr", "/tmp", "127.0.0.1", "0x"]
JSON = "application/json; charset=utf-8"


@dataclass
class Knock:
    """Sends anything at all with a device's token."""

    server: Server
    device: Device

    def __call__(self, path: str, body: bytes, *, method: str = "POST", **headers: str) -> httpx.Response:
        self.device.fetch_token()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(
            method,
            self.server.url + path,
            content=body,
            headers={"Authorization": f"Bearer {self.device.state.access}", "Content-Type": JSON, **named},
            timeout=60,
        )


@pytest.fixture
def knock(server: Server, user: User) -> Knock:
    return Knock(server, user.device())


def refused(answer: httpx.Response, *statuses: int) -> str:
    """Check the form of a refusal; its message."""
    assert answer.status_code in (statuses or ALLOWED), answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert body["code"] == answer.status_code
    assert isinstance(body["error"], str)
    message: str = body["message"]
    assert message
    assert not [word for word in INTERNAL if word in answer.text.lower()], answer.text
    return message


def nothing_happened(user: User) -> None:
    assert user.rows() == {}
    assert user.history() == []
    assert user.clock == 0
    for device in user.devices:
        assert user.client(device)["sync_started"] is None


HOLE = b"[" * 100_000
NOT_JSON = {
    "nothing": b"",
    "half a body": b'{"clientId": ',
    "two bodies": b"{}{}",
    "a trailing comma": b'{"lastSync": 0,}',
    "single quotes": b"{'lastSync': 0}",
    "NaN": b'{"lastSync": NaN}',
    "no UTF-8": b'{"clientId": "\xff\xfe"}',
    "a surrogate in UTF-8": b'{"changes": [{"rowguid": "\xed\xa0\x80"}]}',
    "UTF-16": '{"lastSync": 0}'.encode("utf-16"),
    "a NUL": b"\x00",
    "a deep hole": HOLE,
    "a deep hole among the changes": b'{"changes": ' + HOLE,
    "a deep hole in rowData": b'{"changes": [{"operation":"U","rowguid":"1","tablename":"t","rowData":{"a":'
    + HOLE
    + HOLE.replace(b"[", b"]")
    + b"}}]}",
}


@pytest.mark.parametrize("call", ["pull", "push"])
@pytest.mark.parametrize("body", NOT_JSON)
def test_g11_what_is_no_json_is_refused(user: User, knock: Knock, call: str, body: str) -> None:
    refused(knock(f"/{call}/{user.realm}", NOT_JSON[body]), 400)
    nothing_happened(user)


@pytest.mark.parametrize("call", ["pull", "push", "cancelSync"])
@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'"text"', b"true"])
def test_g11_what_is_no_object_is_refused(user: User, knock: Knock, call: str, body: bytes) -> None:
    refused(knock(f"/{call}/{user.realm}", body), 400)
    nothing_happened(user)


CHANGE = {"operation": "U", "rowguid": "1", "tablename": "t", "clientdate": 1, "rowData": {"a": 1}}
WRONG_TYPES: dict[str, tuple[str, Any]] = {
    "lastSync": ("lastSync", "yesterday"),
    "lastSync beyond all dates": ("lastSync", 10**17),
    "lastSync beyond 2^64": ("lastSync", 10**30),
    "lastSync with a fraction": ("lastSync", 1.5),
    "clientId": ("clientId", 7),
    "clientId that is no UUID": ("clientId", "me"),
    "changes": ("changes", {}),
}
OF_PUSH = [name for name, (path, _) in WRONG_TYPES.items() if path != "lastSync"]  # a push is of the sync of its pull


@pytest.mark.parametrize(
    ("call", "name"), [*(("pull", name) for name in WRONG_TYPES), *(("push", name) for name in OF_PUSH)]
)
def test_g11_a_wrong_type_is_refused_with_its_path(user: User, knock: Knock, call: str, name: str) -> None:
    path, value = WRONG_TYPES[name]
    member = path.split("[")[0]
    body = {"clientId": knock.device.client_id, "lastSync": 0, "isPartial": 0, "changes": [], member: value}
    message = refused(knock(f"/{call}/{user.realm}", json.dumps(body).encode()), 400)
    assert path in message
    nothing_happened(user)


def test_g11_a_call_for_another_client_is_refused(user: User, knock: Knock) -> None:
    other = user.device()
    body = json.dumps({"clientId": other.client_id, "lastSync": 0, "changes": []}).encode()
    refused(knock(f"/pull/{user.realm}", body), 400, 403)
    refused(knock(f"/pull/{user.realm}/{other.client_id}", body), 400, 403)
    refused(knock(f"/pull/{user.realm}/{knock.device.client_id}", body), 400, 403)
    refused(knock(f"/pull/{user.realm}/not-a-client", b"{}"), 400, 403, 404)
    nothing_happened(user)


BROKEN_GZIP: dict[str, Callable[[bytes], bytes]] = {
    "no gzip at all": lambda body: body,
    "half of it": lambda body: gzip.compress(body)[:-10],
    "a wrong checksum": lambda body: gzip.compress(body)[:-8] + b"\x00" * 8,
    "something behind it": lambda body: gzip.compress(body) + b"garbage",
    "nothing": lambda _body: b"",
    "only the beginning": lambda _body: b"\x1f\x8b",
}


@pytest.mark.parametrize("name", BROKEN_GZIP)
def test_g11_broken_gzip_is_refused_and_the_plain_call_succeeds(user: User, knock: Knock, name: str) -> None:
    body = json.dumps({"clientId": knock.device.client_id, "lastSync": 0, "changes": []}).encode()
    path = f"/pull/{user.realm}"
    refused(knock(path, BROKEN_GZIP[name](body), Content_Encoding="gzip"), 400)
    nothing_happened(user)
    assert knock(path, body).status_code == 200


def test_g11_a_gzip_bomb_is_refused(user: User, knock: Knock) -> None:
    bomb = gzip.compress(b" " * 100_000_000, compresslevel=9)
    assert len(bomb) < 1_000_000
    refused(knock(f"/push/{user.realm}", bomb, Content_Encoding="gzip"), 413)
    bomb_in_a_bomb = gzip.compress(bomb)
    refused(knock(f"/push/{user.realm}", bomb_in_a_bomb, Content_Encoding="gzip"), 400, 413)
    nothing_happened(user)


def test_g11_a_body_over_the_limit_is_refused(user: User, knock: Knock) -> None:
    refused(knock(f"/push/{user.realm}", b" " * (9 * 1024 * 1024)), 413)  # the test server's limit is 8 MB
    nothing_happened(user)


def test_g11_what_is_not_declared_as_json_or_gzip_is_refused(user: User, knock: Knock) -> None:
    path, body = f"/pull/{user.realm}", b'{"lastSync": 0}'
    refused(knock(path, body, Content_Encoding="br"), 415)
    refused(knock(path, body, Content_Encoding="gzip, gzip"), 400, 415)
    refused(knock(path, body, Content_Type="text/plain"), 415)
    refused(knock(path, body, Content_Type="multipart/form-data; boundary=x"), 415)
    nothing_happened(user)
    assert knock(path, body, Content_Type="application/json").status_code == 200


def test_g11_an_unknown_realm_or_path_is_refused(user: User, knock: Knock) -> None:
    for path in (
        "/pull/nowhere",
        "/push/nowhere",
        "/cancelSync/nowhere",
        "/pull",
        "/pull/",
        f"/pull/{user.realm}/{knock.device.client_id}/more",
        f"/steal/{user.realm}",
        "/pull/%00",
        "/pull/..%2f..%2fetc",
        "/" + "x" * 5000,
    ):
        refused(knock(path, b"{}"), 400, 403, 404)
    nothing_happened(user)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("call", ["pull", "push", "cancelSync"])
def test_g11_another_method_is_refused(user: User, knock: Knock, call: str, method: str) -> None:
    refused(knock(f"/{call}/{user.realm}", b"{}", method=method), 405)
    nothing_happened(user)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer a b", "bearer x.y.z", "Basic eDp5", "Bearer ÿ", "Bearer " + "x" * 5000],
)
def test_g11_a_strange_authorization_is_refused(user: User, knock: Knock, authorization: str) -> None:
    answer = httpx.post(
        f"{knock.server.url}/pull/{user.realm}",
        content=b"{}",
        headers={b"Authorization": authorization.strip().encode("latin-1"), b"Content-Type": JSON.encode()},
    )
    refused(answer, 400, 401, 403)
    nothing_happened(user)


def test_g11_members_that_nobody_knows_are_let_pass(user: User, knock: Knock) -> None:
    """Clients may say more than this server knows of."""
    body = {"lastSync": 0, "changes": [{**CHANGE, "id": 7, "other": None}], "appVersion": "9", "isPartial": 0}
    assert knock(f"/pull/{user.realm}", json.dumps(body).encode()).status_code == 200
    assert knock(f"/push/{user.realm}", json.dumps(body).encode()).status_code == 200
    assert len(user.rows()) == 1
