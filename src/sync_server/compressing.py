"""Answers that are gzipped, for devices that take that and where it is worth it."""

from __future__ import annotations

import asyncio

from isal import igzip_lib, isal_zlib
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPResponseBodyEvent, HTTPResponseStartEvent, Message, Receive, Scope, Send

_WORTH_IT = 512
"""Bytes of an answer."""
_IN_THREAD = 64 * 1024
"""Bytes above which deflating would hold up the calls of others."""
_GZIPPED = (b"content-encoding", b"gzip")
_LEVEL = 2  # as small as zlib's 1 to 4, in a tenth of their time
_GZIP = 31


class Compressing(ASGIMiddleware):
    """Gzips answers: whole ones of some size; streamed ones part by part, so that each can be read when it arrives."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Called for every request to a route that has this middleware."""
        await next_app(scope, receive, compressing(scope, send))


def takes_gzip(scope: Scope) -> bool:
    """Whether the client takes answers that are gzipped."""
    return any(name == b"accept-encoding" and b"gzip" in value for name, value in scope["headers"])


def compressing(scope: Scope, send: Send) -> Send:
    """A `send` for the request's answer that gzips it if it is worth it and the client takes that."""
    return _Answer(send).send if takes_gzip(scope) else send


async def whole(body: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What to send of a whole answer to a client that takes gzip, and the headers that tell of that."""
    if len(body) < _WORTH_IT:
        return body, []
    return await _deflated(body), [_GZIPPED, (b"vary", b"Accept-Encoding")]


class _Answer:
    """One answer, gzipped on its way if it is worth it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: HTTPResponseStartEvent | None = None
        self._compressor: isal_zlib.Compress | None = None
        """If it is worth it; making one costs more than a short answer."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message  # its headers follow from the body
        elif message["type"] == "http.response.body":
            await self._send_body(message["body"], more=message["more_body"])
        else:
            await self._send(message)

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        start, self._start = self._start, None
        if start is not None:
            if more or len(body) >= _WORTH_IT:
                body = await self._begin(start, body, more)
            await self._send(start)
        elif self._compressor is not None:
            body = await _compressed(self._compressor, body, more)
        await self._send(HTTPResponseBodyEvent(type="http.response.body", body=body, more_body=more))

    async def _begin(self, start: HTTPResponseStartEvent, body: bytes, more: bool) -> bytes:
        if not more:
            body = await _deflated(body)
            _tell(start, len(body))
            return body
        _tell(start, None)
        self._compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
        return await _compressed(self._compressor, body, more)


async def _deflated(body: bytes) -> bytes:
    """A whole answer. In one go, which takes half as long as a compressor that could go on."""
    if len(body) > _IN_THREAD:
        return await asyncio.to_thread(igzip_lib.compress, body, _LEVEL, igzip_lib.COMP_GZIP)
    return igzip_lib.compress(body, _LEVEL, igzip_lib.COMP_GZIP)


async def _compressed(compressor: isal_zlib.Compress, body: bytes, more: bool) -> bytes:
    """A part of an answer."""
    if len(body) > _IN_THREAD:
        return await asyncio.to_thread(_compress, compressor, body, more)
    return _compress(compressor, body, more)


def _compress(compressor: isal_zlib.Compress, body: bytes, more: bool) -> bytes:
    how = isal_zlib.Z_SYNC_FLUSH if more else isal_zlib.Z_FINISH
    return bytes(compressor.compress(body) + compressor.flush(how))


def _tell(start: HTTPResponseStartEvent, length: int | None) -> None:
    """Say in the headers, whose names are small letters, that the body is gzipped, and its length where that is known."""
    former = list(start["headers"])
    vary = [value for name, value in former if name == b"vary"]
    headers = [(name, value) for name, value in former if name not in {b"vary", b"content-length"}]
    headers += [_GZIPPED, (b"vary", b", ".join([*vary, b"Accept-Encoding"]))]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    start["headers"] = headers
