"""Watches every request from its first byte to the last one of its answer."""

from __future__ import annotations

import time
from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any, cast

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


class Watch:
    """Of one process: counts its requests and writes their lines."""

    def __init__(self, tally: Tally, lines: Lines, reports: Reports, tracing: Tracing) -> None:
        self._tally = tally
        self._lines = lines
        self._reports = reports
        self._tracer = _tracer(tracing)

    def begin(self, scope: Scope) -> Call:
        call = calls.begin(cast("HTTPScope", scope))
        if self._tracer is not None:
            call.span = self._tracer.begin(cast("HTTPScope", scope))
        return call

    def end(self, call: Call, scope: Scope) -> None:
        """The call has been answered, as far as it will be."""
        seconds = time.monotonic() - call.begun
        route = cast("dict[str, Any]", scope).get("path_template")
        self._tally.add(call, route, seconds)
        if route not in PROBES or call.status >= _FAILED:
            self._lines.add(call, route, seconds)
            self._tally.lines_dropped = self._lines.dropped
        self._reports.add(call, route, cast("dict[str, Any]", scope).get("path_params", {}))
        if self._tracer is not None and call.span is not None:
            self._tracer.end(call.span, call, route)

    async def close(self) -> None:
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
