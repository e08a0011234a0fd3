"""Watches every request from its first byte to the last one of its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, MutableSequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from litestar.types import HTTPScope, Message, Scope

from sync_server import browsers
from sync_server.config import Tracing
from sync_server.observing import calls
from sync_server.observing.calls import Call
from sync_server.observing.lines import Lines
from sync_server.observing.tally import Tally
from sync_server.reports import Reports

if TYPE_CHECKING:
    from sync_server.observing.tracing import Tracer

PROBES = frozenset({"/metrics", "/health", "/health/live", "/health/ready"})
"""Asked every few seconds by machines: what went well is not worth a line."""
_FAILED = 400
_PAUSE = 0.1
"""Seconds that a call waits for others until it is counted."""
_MOST = 500
"""Calls that wait; more would hold up others when their turn comes."""


class _Ended(NamedTuple):
    call: Call
    route: str | None
    named: Mapping[str, Any]
    """What the path names."""
    at: float
    """On the monotonic clock."""


class Watch:
    """Of one process: counts its requests and writes their lines.

    It does so for several together, a moment later: what runs once in a call finds the processor's caches full of other
    things, and takes three times as long.
    """

    def __init__(self, tally: Tally, lines: Lines, reports: Reports, tracing: Tracing) -> None:
        self._tally = tally
        self._lines = lines
        self._reports = reports
        self._tracer = _tracer(tracing)
        self._ended: list[_Ended] = []
        self._timer: asyncio.TimerHandle | None = None
        tally.settle = reports.settle = self.settle

    def begin(self, scope: Scope) -> Call:
        call = calls.begin(cast("HTTPScope", scope))
        if self._tracer is not None:
            call.span = self._tracer.begin(cast("HTTPScope", scope))
        return call

    def end(self, call: Call, scope: Scope) -> None:
        """The call has been answered, as far as it will be."""
        found = cast("dict[str, Any]", scope)
        route = found.get("path_template")
        self._ended.append(_Ended(call, route, found.get("path_params", {}), time.monotonic()))
        if len(self._ended) >= _MOST:
            self.settle()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self.settle)
        if self._tracer is not None and call.span is not None:
            self._tracer.end(call.span, call, route)

    def settle(self) -> None:
        """Count and log the calls that have ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended, self._ended = self._ended, []
        for call, route, named, at in ended:
            seconds = at - call.begun
            self._tally.add(call, route, seconds)
            if route not in PROBES or call.status >= _FAILED:
                self._lines.add(call, route, seconds, at)
            self._reports.add(call, route, named, at)
        self._tally.lines_dropped = self._lines.dropped

    async def close(self) -> None:
        self.settle()
        await self._lines.close()
        if self._tracer is not None:
            await self._tracer.close()


def _tracer(settings: Tracing) -> Tracer | None:
    if settings.endpoint is None:
        return None
    from sync_server.observing.tracing import Tracer  # noqa: PLC0415 - its libraries need not be there otherwise

    return Tracer(settings)


def note(call: Call, scope: Scope, message: Message) -> None:
    """Look at a message on its way to the client, and give the answer the headers that all have."""
    if message["type"] == "http.response.start":
        call.status = message["status"]
        headers = cast("MutableSequence[tuple[bytes, bytes]]", message["headers"])
        message["headers"] = [
            *headers,
            *browsers.headers(cast("HTTPScope", scope), headers),
            (b"x-request-id", (call.request_id or "").encode()),
        ]
    elif message["type"] == "http.response.body":
        call.bytes_out += len(message["body"])
        call.complete = not message["more_body"]
