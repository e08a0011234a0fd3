"""The account calls, each as exactly one exchange, so that a test sees every answer."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, TypeVar

import httpx

from wire import Answer, encode, new_email

T = TypeVar("T")
NOTHING = object()
"""Stands for a member that is left out of a body."""


@dataclass(frozen=True)
class Reply(Answer):
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def error(self) -> str:
        """The error answer's name, `ok` for a success."""
        if self.status == 200:
            return "ok"
        answer = self.json()
        assert set(answer) == {"code", "error", "message"}, answer
        assert answer["code"] == self.status, answer
        return str(answer["error"])

    @property
    def access(self) -> str:
        return str(self.ok["accessToken"])

    @property
    def refresh(self) -> str:
        return str(self.ok["refreshToken"])

    @property
    def ok(self) -> dict[str, Any]:
        """The answer of a call that must have succeeded."""
        assert self.status == 200, self
        answer = self.json()
        assert isinstance(answer, dict), answer
        return answer


@dataclass
class Phone:
    """What an app knows of its user and itself."""

    email: str = field(default_factory=new_email)
    password: str = "correct horse: battery ✓"
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def another(self, **differences: str) -> Phone:
        """Another device of the same user."""
        return Phone(**{"email": self.email, "password": self.password, **differences})


def basic(email: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{email}:{password}".encode()).decode()


class Calls:
    """A connection to a server. `source`: the loopback address to call from."""

    def __init__(self, url: str, realm: str, source: str | None = None) -> None:
        self.realm = realm
        transport = httpx.HTTPTransport(local_address=source, limits=httpx.Limits(max_connections=64))
        self._http = httpx.Client(base_url=url, timeout=60, transport=transport)

    def close(self) -> None:
        self._http.close()

    def post(
        self, path: str, body: Any, authorization: str | bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send `body` as JSON; bytes as they are."""
        content = body if isinstance(body, bytes) else encode(body)
        sent: list[tuple[str, str | bytes]] = [("Content-Type", "application/json; charset=utf-8")]
        sent += list((headers or {}).items())
        if authorization is not None:
            sent.append(("Authorization", authorization))
        encoded = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in sent]
        answer = self._http.post(path, content=content, headers=encoded)
        return Reply(answer.status_code, answer.content, answer.headers, answer.elapsed.total_seconds())

    def register(self, phone: Phone, *, new: Any = True, **members: Any) -> Reply:
        """As sync_client does; `members` replace or, with NOTHING, take away."""
        body = {
            "name": "Ann",
            "email": phone.email,
            "password": phone.password,
            "clientId": phone.client_id,
            "clientDescription": '{"name":"Ann\'s phone","systemName":"iOS"}',
            "newRegistration": new,
            "deleteRemoteData": False,
            "language": "en",
            **members,
        }
        return self.post(f"/register/{self.realm}", {name: it for name, it in body.items() if it is not NOTHING})

    def registered(self, **options: str) -> Phone:
        """The phone of a new user."""
        phone = Phone(**options)
        self.register(phone).ok  # noqa: B018 - asserts
        return phone

    def joined(self, phone: Phone) -> Phone:
        """Another device of the user, registered too."""
        other = phone.another()
        self.register(other, new=False).ok  # noqa: B018 - asserts
        return other

    def login(self, phone: Phone, *, headers: Mapping[str, str] | None = None) -> Reply:
        authorization = basic(phone.email, phone.password)
        return self.post(f"/login/{self.realm}", {"clientId": phone.client_id}, authorization, headers)

    def refresh(self, token: str) -> Reply:
        return self.post(f"/login/{self.realm}/refreshToken", {"refreshToken": token})

    def unregister(self, phone: Phone, token: str, *, data: bool = False) -> Reply:
        body = {
            "email": phone.email,
            "password": phone.password,
            "clientId": phone.client_id,
            "deleteRemoteData": data,
        }
        return self.post(f"/unregister/{self.realm}", body, f"Bearer {token}")

    def forgotten(self, email: str) -> Reply:
        return self.post(f"/password/{self.realm}/forgotten", {"email": email})

    def change(self, email: str, pin: object, password: str) -> Reply:
        """As sync_client does."""
        return self.post(f"/password/{self.realm}/change", {"email": email, "pin": pin, "password": password})

    def cancel(self, phone: Phone, token: str) -> Reply:
        """The cheapest call that needs a token."""
        return self.post(f"/cancelSync/{self.realm}", {"clientId": phone.client_id}, f"Bearer {token}")

    def sync(self, phone: Phone, token: str, *changes: dict[str, Any]) -> None:
        """Pull from the beginning, then push `changes`."""
        body = {"clientId": phone.client_id, "lastSync": 0, "isPartial": 0, "changes": []}
        self.post(f"/pull/{self.realm}", body, f"Bearer {token}").ok  # noqa: B018 - asserts
        self.post(f"/push/{self.realm}", {**body, "changes": changes}, f"Bearer {token}").ok  # noqa: B018 - asserts


def at_once(*works: Callable[[], T]) -> Sequence[T]:
    """Run all `works` at the same time, each in a thread; their results in order."""
    start = Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))
