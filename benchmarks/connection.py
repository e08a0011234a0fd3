"""HTTP as lean as can be: what asks shares the processors with what is measured."""

from __future__ import annotations

import asyncio
import gzip as gzip_
import math
import time
from typing import NamedTuple, cast

import httptools

_GZIP_LEVEL = 6  # Dart's
_REST = 15.0
"""Seconds after which a connection is not used again: the server closes idle ones."""


class WrongAnswer(Exception):
    """The server did not do what it must: the benchmark's figures are worth nothing."""


class Refused(WrongAnswer):
    """An answer with another status than 200."""


class Answer(NamedTuple):
    body: bytes
    """As it came; compressed answers are inflated when their text is asked for, after the measurement."""
    gzipped: bool
    seconds: float
    """From the request's first byte to the answer's last one."""
    first_byte: float
    """Seconds from the request's first byte to the first one of the answer's body."""

    def text(self) -> bytes:
        return gzip_.decompress(self.body) if self.gzipped else self.body


class Connection:
    """An HTTP connection that is kept open; one call at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._line: _Line | None = None

    async def call(self, request: bytes) -> Answer:
        """Send a request. Raises Refused when the answer has another status than 200, WrongAnswer when it is none."""
        if self._line is not None and not self._line.usable():
            self.close()
        if self._line is None:
            _, self._line = await asyncio.get_running_loop().create_connection(_Line, "127.0.0.1", self._port)
        return await self._line.call(request)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class _Line(asyncio.Protocol):
    """A connection until it is closed."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._sent = time.perf_counter()
        self._start()

    def usable(self) -> bool:
        resting = time.perf_counter() - self._sent < _REST
        return resting and self._transport is not None and not self._transport.is_closing()

    def call(self, request: bytes) -> asyncio.Future[Answer]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._sent = time.perf_counter()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._first_byte = math.nan
        self._gzipped = False

    # asyncio's and httptools' callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WrongAnswer(f"the connection was lost: {exc}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-encoding":
            self._gzipped = value == b"gzip"

    def on_body(self, body: bytes) -> None:
        if not self._body:
            self._first_byte = time.perf_counter() - self._sent
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._answer is not None
        seconds = time.perf_counter() - self._sent
        answer = Answer(b"".join(self._body), self._gzipped, seconds, self._first_byte)
        status = self._parser.get_status_code()
        self._start()
        if self._answer.done():  # nobody waits for it any more
            return
        if status == 200:
            self._answer.set_result(answer)
        else:
            self._answer.set_exception(Refused(f"{status} {answer.text()[:200]!r}"))


def post(path: str, body: bytes, authorization: str, *, gzip: bool = True) -> bytes:
    """A request as sync_client sends it. `gzip`: whether the answer may be compressed; the body always is."""
    compressed = gzip_.compress(body, _GZIP_LEVEL, mtime=0)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"content-encoding: gzip\r\ncontent-length: {len(compressed)}\r\n"
    )
    if gzip:
        head += "accept-encoding: gzip\r\n"
    if authorization:
        head += f"authorization: {authorization}\r\n"
    return head.encode() + b"\r\n" + compressed
