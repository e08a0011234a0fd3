"""The short way to the four calls of a sync: refresh, pull, push, cancelSync.

Litestar's routing, middleware and dependencies take as long as all the rest of a refresh. What is answered with 200 (or 206)
goes past them. Everything else goes through them as ever: other paths and methods, and whatever refuses a call or breaks
down, so that there is one place for the forms of errors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

import msgspec
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import ASGIApp, HTTPResponseBodyEvent, HTTPResponseStartEvent, HTTPScope, Receive, Scope, Send

from sync_server import compressing
from sync_server.accounts import routes as accounts
from sync_server.accounts.tokens import Device
from sync_server.callers import Callers
from sync_server.outcome import JSON, Outcome
from sync_server.realms import Realm
from sync_server.receiving import REFUSED, Receiving
from sync_server.sync import calls

_EVERY_ORIGIN = (b"access-control-allow-origin", b"*")
_TYPE = (b"content-type", JSON.encode())


class _Request(NamedTuple):
    scope: HTTPScope
    realm: Realm
    client_in_path: str | None
    body: bytes


class _Route(NamedTuple):
    template: str
    """As Litestar calls it."""
    run: Callable[[_Request], Awaitable[Outcome]]


class Direct:
    """In front of `litestar`, which has routes for the same calls."""

    def __init__(self, litestar: ASGIApp, callers: Callers, receiving: Receiving) -> None:
        self._litestar = litestar
        self._callers = callers
        self._receiving = receiving
        self._routes = {
            ("pull", 3): _Route("/pull/{realm_name}", self._pull),
            ("pull", 4): _Route("/pull/{realm_name}/{client_id}", self._pull),
            ("push", 3): _Route("/push/{realm_name}", self._push),
            ("push", 4): _Route("/push/{realm_name}/{client_id}", self._push),
            ("cancelSync", 3): _Route("/cancelSync/{realm_name}", self._cancel_sync),
            ("login", 4): _Route("/login/{realm_name}/refreshToken", self._refresh),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for HTTP requests."""
        http = cast("HTTPScope", scope)
        parts = http["path"].split("/")
        route = self._routes.get((parts[1], len(parts))) if len(parts) > 2 and http["method"] == "POST" else None  # noqa: PLR2004
        if route is None or not all(parts[2:]) or (parts[1] == "login" and parts[3] != "refreshToken"):
            await self._litestar(scope, receive, send)
            return
        try:
            body = await self._receiving.body(http, receive)
            in_path = parts[3] if parts[3:] else None
            outcome = await route.run(_Request(http, self._callers.realm(parts[2]), in_path, body))
        except Exception as exc:  # noqa: BLE001 - it is raised again where Litestar makes an answer of it
            cast("dict[str, Any]", scope)[REFUSED] = exc
            await self._litestar(scope, receive, send)
            return
        cast("dict[str, Any]", scope)["path_template"] = route.template
        gzip = route.run == self._pull and compressing.takes_gzip(http)
        await _answer(outcome, http, receive, send, gzip=gzip)

    async def _pull(self, request: _Request) -> Outcome:
        return await calls.pull(request.realm, self._device(request), self._callers.server, request.body)

    async def _push(self, request: _Request) -> Outcome:
        return await calls.push(request.realm, self._device(request), self._callers.server, request.body)

    async def _cancel_sync(self, request: _Request) -> Outcome:
        return await calls.cancel_sync(request.realm, self._device(request), request.body)

    async def _refresh(self, request: _Request) -> Outcome:
        client = request.scope["client"]
        limits_of = self._callers.limits_of(client[0] if client else "")
        logged_in = await accounts.refresh(self._callers.server, request.realm, limits_of, request.body)
        return Outcome(msgspec.json.encode(logged_in))

    def _device(self, request: _Request) -> Device:
        given = (value for name, value in request.scope["headers"] if name == b"authorization")
        return self._callers.device(request.realm, next(given, b"").decode("latin-1"), request.client_in_path)


async def _answer(outcome: Outcome, scope: HTTPScope, receive: Receive, send: Send, *, gzip: bool) -> None:
    if not isinstance(outcome.body, bytes):
        streaming = ASGIStreamingResponse(iterator=outcome.body, encoded_headers=[_TYPE, _EVERY_ORIGIN])
        # which stops when the client goes away
        await streaming(scope, receive, compressing.compressing(scope, send) if gzip else send)
        return
    body, told = await compressing.whole(outcome.body) if gzip else (outcome.body, [])
    headers = [_TYPE, (b"content-length", b"%d" % len(body)), _EVERY_ORIGIN, *told]
    await send(HTTPResponseStartEvent(type="http.response.start", status=outcome.status, headers=headers))
    await send(HTTPResponseBodyEvent(type="http.response.body", body=body, more_body=False))
