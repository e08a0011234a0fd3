"""Running the server: one process or several workers, and the orderly end of both."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Generator

import uvicorn
from litestar.enums import ScopeType
from litestar.types import Message, Receive, Scope, Send

from sync_server import heads, signals
from sync_server.app import create_app
from sync_server.config import Config
from sync_server.workers import Workers

_BACKLOG = 2048
_KEEP_ALIVE = 30
"""Seconds that an idle connection is kept."""
_CUT = b'{"code":503,"error":"unavailable","message":"The server was stopped before it could answer, try again later"}'
_CUT_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_CUT)).encode()),
    (b"access-control-allow-origin", b"*"),
    (b"retry-after", b"5"),
    (b"connection", b"close"),
]


class ServeError(Exception):
    """The server cannot run; one line says why."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ServeError when the address cannot be had."""
    host = host.removeprefix("[").removesuffix("]")  # an IPv6 address as in a URL
    try:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, ValueError, TypeError) as exc:  # the others: a host name that cannot be one
        reason = exc.strerror if isinstance(exc, OSError) else "that is no host name"
        raise ServeError(f"Cannot listen on {host} port {port}: {reason}; --host, --port or PORT name others") from exc
    listening.setblocking(False)  # noqa: FBT003 - the library's
    return listening


def run(config: Config, urls: dict[str, str], listening: socket.socket, workers: int) -> None:
    """Serve until a signal. Further ones are ignored afterwards: they must not disturb the cleaning up.

    Raises ServeError when there are fewer connections than workers.
    """
    connections = config.db.max_connections // workers  # whichever way the work falls, the sum is within the limit
    if not connections:
        raise ServeError(f"{workers} workers need {workers} connections at least: raise db.max_connections")
    try:
        if workers == 1:
            serve(config, urls, connections, listening)
        else:
            _serve_in(Workers(workers, config.server.grace, serve, config, urls, connections, listening), listening)
    finally:
        signals.ignore()


def _serve_in(workers: Workers, listening: socket.socket) -> None:
    try:
        workers.keep_running()
    finally:
        listening.close()  # or the kernel would go on taking connections that nobody answers
        workers.end()


def serve(config: Config, urls: dict[str, str], connections: int, listening: socket.socket) -> None:
    """Serve in this process until a signal, with so many connections to databases."""
    _Server(config, urls, connections).run([listening])


class _Server(uvicorn.Server):
    """Ends as sync-server promises: running requests end, what has stopped coming is not waited for, exit 0."""

    def __init__(self, config: Config, urls: dict[str, str], connections: int) -> None:
        self._application = _Application(config, urls, connections)
        proxies = list(config.server.trusted_proxies)
        super().__init__(
            uvicorn.Config(
                self._application,
                http=heads.protocol(config.server.body_timeout),
                loop="auto",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=math.ceil(config.server.grace),
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in good order, within the grace."""
        self._application.stop_receiving()
        closing = asyncio.create_task(self._close_latecomers())
        try:
            await super().shutdown(sockets)
        finally:
            closing.cancel()

    async def _close_latecomers(self) -> None:
        """Close the connections that were on their way while the server closed; uvicorn looks at those it has, once."""
        while True:
            await asyncio.sleep(0.2)
            for connection in list(self.server_state.connections):
                connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Like uvicorn's, but an orderly end is not followed by the signal's own effect."""
        signals.handle(self.handle_exit)
        yield


class _Application:
    """The application; a request that is cut when the grace is over is answered, if it is not too late for that."""

    def __init__(self, config: Config, urls: dict[str, str], connections: int) -> None:
        self._litestar = create_app(config, urls, connections)

    def stop_receiving(self) -> None:
        self._litestar.state["stop_receiving"]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def note_and_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._litestar(scope, receive, note_and_send)
        except asyncio.CancelledError:
            if scope["type"] != ScopeType.HTTP:
                raise
            if not answered:
                await send({"type": "http.response.start", "status": 503, "headers": _CUT_HEADERS})
                await send({"type": "http.response.body", "body": _CUT, "more_body": False})
