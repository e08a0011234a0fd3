"""What every request passes first: where it is watched, and sent to the application that it is for."""

from __future__ import annotations

import asyncio
from typing import cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from sync_server.admin import gate
from sync_server.admin.gate import Gate
from sync_server.app import create_app
from sync_server.config import Config
from sync_server.direct import Direct
from sync_server.errors import Refusal
from sync_server.observing import Call, watching
from sync_server.observing.exposure import Exposure
from sync_server.observing.lines import Lines
from sync_server.observing.monitoring import Watched
from sync_server.observing.watching import PROBES, Watch

log = structlog.get_logger()
Served = tuple[Config, dict[str, str], frozenset[str]]
"""The configuration, each realm's connection URL, and the realms that are not up to date yet."""
_CUT = b'{"code":503,"error":"unavailable","message":"The server was stopped before it could answer, try again later"}'
_CUT_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_CUT)).encode()),
    (b"access-control-allow-origin", b"*"),
    (b"retry-after", b"5"),
    (b"connection", b"close"),
]


class Entrance:
    """The application; a request that is cut when the grace is over is answered, if it is not too late for that."""

    def __init__(self, served: Served, connections: int, watched: Watched) -> None:
        config, urls, closed = served
        self._litestar = create_app(config, urls, connections, closed, watched)
        lines, reports = Lines(config.logs.requests), self._litestar.state["reports"]
        self._watch = Watch(watched.tally, lines, reports, config.tracing)
        self._exposure = Exposure(config.metrics, watched.port)
        self._admin: Gate = self._litestar.state["admin"]
        self._direct: Direct = self._litestar.state["direct"]

    def replace(self, config: Config, urls: dict[str, str], closed: frozenset[str]) -> None:
        self._litestar.state["replace_realms"](config, urls, closed)

    def stop_receiving(self) -> None:
        self._litestar.state["stop_receiving"]()

    async def close(self) -> None:
        await self._watch.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._litestar(scope, receive, send)
            return
        call = self._watch.begin(scope)

        async def note_and_send(message: Message) -> None:
            watching.note(call, scope, message)
            await send(message)

        try:
            await self._answer(call, scope, receive, note_and_send)
        finally:
            self._watch.end(call, scope)

    async def _answer(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._application_for(scope)(scope, receive, send)
        except Exception as exc:
            refusal = _refusal_in(exc)
            if not call.status or refusal is None:
                raise
            # to return without the end of the answer has uvicorn hang up: the client sees that it is broken off
            log.warning("answer_broken_off", route=scope.get("path_template"), error=refusal.code)
        except asyncio.CancelledError:
            if not call.status:
                await send({"type": "http.response.start", "status": 503, "headers": _CUT_HEADERS})
                await send({"type": "http.response.body", "body": _CUT, "more_body": False})

    def _application_for(self, scope: Scope) -> ASGIApp:
        if self._exposure.is_own_port(cast("HTTPScope", scope)) and scope["path"] not in PROBES:
            return _nothing
        return self._admin if gate.is_for(scope["path"]) else self._direct


async def _nothing(_: Scope, __: Receive, send: Send) -> None:
    """What the port for metrics answers to everything else."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _refusal_in(exc: BaseException) -> Refusal | None:
    """The refusal that ended an answer which had begun, in whatever it was wrapped on its way."""
    if isinstance(exc, Refusal):
        return exc
    inner = exc.exceptions if isinstance(exc, BaseExceptionGroup) else (exc.__cause__, exc.__context__)
    return next((found for each in inner if each is not None and (found := _refusal_in(each)) is not None), None)
