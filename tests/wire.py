"""HTTP as sync_client speaks it, with a hook through which every exchange of a device goes.

A `Transport` is handed each request and the function that sends it. It may send it, not at all or several times, run
anything before and after, keep it for later, or raise: `Lost` is a network fault (the device goes on with its life),
`Crash` ends the app on the spot.
"""

from __future__ import annotations

import gzip
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx


class Server(Protocol):
    """The server under test, as the `server` fixture gives it."""

    @property
    def url(self) -> str: ...
    @property
    def realm(self) -> str: ...
    @property
    def other_realm(self) -> str: ...
    def dsn(self, realm: str) -> str: ...


@dataclass(frozen=True)
class Request:
    path: str
    body: bytes
    authorization: str | None = None
    gzipped: bool = False

    def json(self) -> Any:
        return json.loads(gzip.decompress(self.body) if self.gzipped else self.body)

    def headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json; charset=utf-8"}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        if self.gzipped:
            headers["Content-Encoding"] = "gzip"
        return headers


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """What the app shows when the call failed: the text of an error answer."""
        answer = self.json()
        assert answer["code"] == self.status, answer
        message = answer["message"]
        assert isinstance(message, str), answer
        assert message, answer
        return message


class Lost(Exception):
    """The network lost the request or its answer; the device cannot tell which."""


class Crash(Exception):
    """The app was killed; what it had stored is all that is left."""


Send = Callable[[Request], Answer]
Transport = Callable[[Request, Send], Answer]


class Wire:
    """A connection pool to one server; threads may share it."""

    def __init__(self, url: str, keep_alive: int | None = None) -> None:
        """`keep_alive`: how many connections may wait for further calls; 0 has each call come by one of its own."""
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=keep_alive)
        self._http = httpx.Client(base_url=url, timeout=60, limits=limits)

    def send(self, request: Request) -> Answer:
        answer = self._http.post(request.path, content=request.body, headers=request.headers())
        return Answer(answer.status_code, answer.content)

    def close(self) -> None:
        self._http.close()


def encode(value: Any) -> bytes:
    """JSON as Dart writes it: UTF-8, with escapes only for what UTF-8 cannot say."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def compress(payload: bytes) -> bytes:
    return gzip.compress(payload, compresslevel=1, mtime=0)


def new_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


# Transports.


def direct(request: Request, send: Send) -> Answer:
    return send(request)


def lose_request(_request: Request, _send: Send) -> Answer:
    raise Lost


def lose_answer(request: Request, send: Send) -> Answer:
    send(request)
    raise Lost


def crash_before(_request: Request, _send: Send) -> Answer:
    raise Crash


def crash_after(request: Request, send: Send) -> Answer:
    send(request)
    raise Crash


def twice(request: Request, send: Send) -> Answer:
    """A proxy repeats the request; the device hears the second answer."""
    send(request)
    return send(request)


def keep(stragglers: list[Request]) -> Transport:
    """Let the request pass, and keep a copy that some day may arrive as well."""

    def transport(request: Request, send: Send) -> Answer:
        stragglers.append(request)
        return send(request)

    return transport


def hold(stragglers: list[Request]) -> Transport:
    """Keep the request back; the device takes it for lost."""

    def transport(request: Request, _send: Send) -> Answer:
        stragglers.append(request)
        raise Lost

    return transport


def meanwhile(action: Callable[[], object]) -> Transport:
    """Something happens elsewhere just before the request arrives."""

    def transport(request: Request, send: Send) -> Answer:
        action()
        return send(request)

    return transport


@dataclass
class On:
    """A transport that does `then` to the requests `first` … `first + times - 1` whose path begins with `prefix`.

    A device repeats every failed call, so a call is really lost only with `times=2`.
    """

    prefix: str
    then: Transport
    first: int = 1
    times: int = 1
    seen: int = field(default=0, init=False)

    def __call__(self, request: Request, send: Send) -> Answer:
        if request.path.startswith(self.prefix):
            self.seen += 1
            if self.first <= self.seen < self.first + self.times:
                return self.then(request, send)
        return send(request)
