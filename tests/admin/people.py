"""People with roles, and what they see of the admin API."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import bcrypt
import httpx

from sync_server.accounts.roles import Role
from users import Connection

PASSWORD = "correct horse: battery ✓"
_HASH = ""


def _hash() -> str:
    """Of PASSWORD, as the server makes it; once is enough."""
    global _HASH  # noqa: PLW0603 - a cache
    if not _HASH:
        short = base64.b64encode(hashlib.sha256(PASSWORD.encode()).digest())
        _HASH = bcrypt.hashpw(short, bcrypt.gensalt(4)).decode()
    return _HASH


@dataclass
class Person:
    """An account of a realm; `token` once signed in."""

    http: httpx.Client
    connection: Connection
    realm: str
    role: Role
    email: str
    id: str
    token: str = ""
    refresh: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def login(self, password: str = PASSWORD, **more: Any) -> httpx.Response:
        body = {"realm": self.realm, "email": self.email, "password": password, **more}
        return self.http.post("/api/v1/auth/login", json=body)

    def signed_in(self) -> Person:
        tokens = data(self.login())
        self.token, self.refresh = tokens["access_token"], tokens["refresh_token"]
        return self

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call with this person's token; `path` is below /api/v1."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.http.request(method, f"/api/v1{path}", headers=headers, **options)

    def get(self, path: str, **parameters: Any) -> Any:
        return data(self.call("GET", path, params=parameters))

    def users(self, path: str = "") -> str:
        return f"/realms/{self.realm}/users{path}"


NewPerson = Callable[..., Person]
"""Make somebody with a role, in the main realm unless told otherwise; signed in where the role allows it."""


def make(http: httpx.Client, connection: Connection, realm: str, role: Role, *, name: str = "Ann") -> Person:
    """Put somebody into the database."""
    identity, email = uuid.uuid4(), f"{uuid.uuid4().hex}@example.com"
    connection.execute("INSERT INTO sync.spaces (id) VALUES (%s)", [identity])
    connection.execute(
        "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash, role)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [identity, identity, email, email, name, _hash(), str(role)],
    )
    return Person(http, connection, realm, role, email, str(identity))


def data(answer: httpx.Response) -> Any:
    """What a success brought."""
    body = answer.json()
    assert answer.is_success, body
    assert body["success"] is True, body
    assert body["error"] is None, body
    return body["data"]


def refused(answer: httpx.Response, status: int, code: str) -> Any:
    """The details of a refusal, which must have the agreed form."""
    body = answer.json()
    assert (answer.status_code, body["success"], body["data"], body["meta"]) == (status, False, None, {}), body
    assert body["error"]["code"] == code, body
    assert body["error"]["message"]
    return body["error"]["details"]
