"""uvicorn's HTTP protocol with bounds on the head of a request, and with refusals in the agreed form."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD = 64 * 1024
"""Bytes of a request line and headers; uvicorn itself takes any number of them into memory."""

_PIPELINED = 16
"""Requests that one connection may send ahead of the answers; uvicorn queues whatever is in what it has just read."""

HAS_ARRIVED = "sync_server.has_arrived"
"""In the scope of a request whose body has come to its end, so that nobody need wait for it, nor bound the wait."""


def protocol(seconds: float) -> type[HttpToolsProtocol]:
    """Uvicorn's protocol for heads that arrive within `seconds` from their first byte; uvicorn itself waits without end."""
    return type("Protocol", (_Protocol,), {"seconds": seconds})


class _TooManyAtOnce(Exception):
    """More requests than one connection may send ahead."""


class _Protocol(HttpToolsProtocol):
    """One connection."""

    seconds: float

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """What comes may be more than a head may be long: of that no more is parsed, and so kept, than a head may have."""
        while self._in_head and len(data) > _HEAD - self._head and not self.transport.is_closing():
            if self._head == _HEAD:
                self.send_400_response(f"The head of the request is longer than {_HEAD} bytes")
                return
            piece, data = data[: _HEAD - self._head], data[_HEAD - self._head :]
            self._parse(piece)
        if not self.transport.is_closing():
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.seconds, self._head_is_late)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _PIPELINED:
            raise _TooManyAtOnce  # which the parser takes for the sender's mistake
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head = 0
        cast("dict[str, Any]", self.scope)[HAS_ARRIVED] = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP, too."""
        self._stop_timer()
        body = msgspec.json.encode({"code": 400, "error": "malformed_request", "message": msg})
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\naccess-control-allow-origin: *\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()

    def _head_is_late(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
