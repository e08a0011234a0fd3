"""Receiving request bodies: within limits of size and time, and inflated."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPRequestEvent, HTTPScope, Receive, ReceiveMessage, Scope, Send

from sync_server import observing
from sync_server.errors import BodyStalled, BodyTooLarge, MalformedEncoding, Refusal, UnsupportedMediaType
from sync_server.heads import HAS_ARRIVED
from sync_server.limits import Limit

_STOPPING_SECONDS = 1.0
"""What a body that has stopped coming gets when the server is to end."""
_MOST_MEMBERS = 16
"""Of a gzip body. What follows a member is copied each time: a body of nothing but empty members would take minutes."""
_GZIP = 31
"""What zlib calls the format."""
_WITH_BODY = frozenset({"POST", "PATCH", "PUT"})
"""Methods. What comes with others is not read."""
REFUSED = "sync_server.refused"
"""In the scope of a request that was refused before it came here: what it was refused with."""
_SMALL = 64 * 1024
"""Inflated bytes above which inflating would hold up the calls of others; it takes a thousandth of that to make them."""


class Receiving(ASGIMiddleware):
    """Hands the route a body that is whole, plain JSON bytes and within the limit, or refuses it."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, max_body: int, timeout: float) -> None:
        """`max_body`: bytes, inflated; `timeout`: seconds without a byte of a body."""
        self._max_body = max_body
        self._timeout = timeout
        self._waiting: set[asyncio.Timeout] = set()
        self._stopping = False

    def stop(self) -> None:
        """From now on a body that has stopped coming is not waited for."""
        self._stopping = True
        for timeout in self._waiting:
            timeout.reschedule(asyncio.get_running_loop().time() + _STOPPING_SECONDS)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Called for every request that has a route."""
        if scope["type"] != ScopeType.HTTP or scope["method"] not in _WITH_BODY:
            await next_app(scope, receive, send)
            return
        if REFUSED in scope:
            raise cast("dict[str, Exception]", scope)[REFUSED]
        body = await self.body(scope, receive)
        await next_app(_plain(scope), _replay(body, receive), send)

    async def body(self, scope: HTTPScope, receive: Receive) -> bytes:
        """The body, inflated. Raises Refusal."""
        headers = dict(scope["headers"])
        _check_content_type(headers.get(b"content-type", b"").decode("latin-1"))
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        if encoding not in {"identity", "gzip", "x-gzip"}:
            raise UnsupportedMediaType
        body = await self._receive(scope, headers.get(b"content-length"), receive)
        if encoding != "identity":
            small = inflate_small(body)
            return await asyncio.to_thread(inflate, body, self._max_body) if small is None else small
        return body

    async def _receive(self, scope: HTTPScope, content_length: bytes | None, receive: Receive) -> bytes:
        if content_length is not None and content_length.isdigit() and int(content_length) > self._max_body:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive() if HAS_ARRIVED in scope else await self._receive_in_time(receive)
            if message["type"] != "http.request":
                raise Disconnected
            chunks.append(message["body"])
            size += len(message["body"])
            if size > self._max_body:
                raise self._too_large()
            if not message["more_body"]:
                observing.present().bytes_in = size
                return b"".join(chunks)

    async def _receive_in_time(self, receive: Receive) -> ReceiveMessage:
        with self._limited() as timeout:
            async with timeout:
                return await receive()

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(limit=Limit("server.max_body", self._max_body))

    @contextmanager
    def _limited(self) -> Iterator[asyncio.Timeout]:
        timeout = asyncio.timeout(_STOPPING_SECONDS if self._stopping else self._timeout)
        self._waiting.add(timeout)
        try:
            yield timeout
        except TimeoutError:
            raise BodyStalled from None
        finally:
            self._waiting.discard(timeout)


class Disconnected(Refusal):
    """The client is gone; nobody reads the answer."""

    status = 400
    code = "disconnected"
    message = "The connection was closed before the body was complete"


def inflate_small(data: bytes) -> bytes | None:
    """Gzip `data` inflated, if it is one member of a few bytes: what most calls are. Raises MalformedEncoding."""
    stream = zlib.decompressobj(wbits=_GZIP)
    try:
        inflated = stream.decompress(data, _SMALL)
    except zlib.error:
        raise MalformedEncoding from None
    return inflated if stream.eof and not stream.unused_data else None


def inflate(data: bytes, limit: int) -> bytes:
    """Gzip `data` inflated, never beyond `limit` bytes. Raises MalformedEncoding, BodyTooLarge."""
    inflated = bytearray()
    for _ in range(_MOST_MEMBERS + 1):
        if not data:
            return bytes(inflated)
        stream = zlib.decompressobj(wbits=_GZIP)
        try:
            inflated += stream.decompress(data, limit + 1 - len(inflated))
        except zlib.error:
            raise MalformedEncoding from None
        if len(inflated) > limit:
            raise BodyTooLarge("The body, inflated, is too large", limit=Limit("server.max_body", limit))
        if not stream.eof:
            raise MalformedEncoding("The gzip body is cut off")
        data = stream.unused_data  # a gzip file may have several members (RFC 1952, section 2.2)
    raise MalformedEncoding(f"The gzip body has more than {_MOST_MEMBERS} members")


def _check_content_type(content_type: str) -> None:
    """JSON in UTF-8, or nothing said about it."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind and kind not in {"application/json", "text/json"} and not kind.endswith("+json"):
        raise UnsupportedMediaType
    for parameter in parameters:
        if parameter.startswith("charset=") and parameter.strip('"')[8:].strip('"') not in {
            "utf-8",
            "utf8",
            "us-ascii",
        }:
            raise UnsupportedMediaType("The body must be UTF-8")


def _plain(scope: Scope) -> Scope:
    """The scope without the headers that told of the transfer."""
    headers = [
        (name, value) for name, value in scope["headers"] if name not in {b"content-encoding", b"content-length"}
    ]
    return cast("HTTPScope", {**scope, "headers": headers})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what the connection gives (that the client is gone)."""
    messages = [HTTPRequestEvent(type="http.request", body=body, more_body=False)]

    async def replay() -> HTTPRequestEvent:
        return messages.pop() if messages else cast("HTTPRequestEvent", await receive())

    return replay
