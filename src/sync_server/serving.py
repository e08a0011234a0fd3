"""Running the server: one process or several workers, and the orderly end of both."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import multiprocessing
import socket
import threading
from collections.abc import Generator
from multiprocessing.connection import Connection

import structlog
import uvicorn
from litestar.enums import ScopeType
from litestar.types import Message, Receive, Scope, Send

from sync_server import heads, signals
from sync_server.admin import gate
from sync_server.admin.gate import Gate
from sync_server.app import create_app
from sync_server.complaint import Complaint
from sync_server.config import Config
from sync_server.errors import Refusal
from sync_server.observing import Call, watching
from sync_server.observing.lines import Lines
from sync_server.observing.tally import Tally
from sync_server.observing.watching import Watch
from sync_server.workers import Workers

log = structlog.get_logger()
Served = tuple[Config, dict[str, str], frozenset[str]]
"""The configuration, each realm's connection URL, and the realms that are not up to date yet."""
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


class ServeError(Complaint):
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


class Serving:
    """The server: one process or several."""

    def __init__(
        self, config: Config, urls: dict[str, str], closed: frozenset[str], listening: socket.socket, workers: int
    ) -> None:
        """`closed`: realms that are not up to date yet. Raises ServeError when there are fewer connections than workers."""
        connections = config.db.max_connections // workers  # whichever way the work falls, the sum is within the limit
        if not connections:
            raise ServeError(f"{workers} workers need {workers} connections at least: raise db.max_connections")
        self._listening = listening
        self._arguments = (connections, listening)
        self._served = (config, urls, closed)
        self._news, self._line = multiprocessing.Pipe(duplex=False)
        self._workers = None
        if workers > 1:
            self._workers = Workers(workers, config.server.grace, serve, self._served, *self._arguments)

    def replace(self, config: Config, urls: dict[str, str], closed: frozenset[str]) -> None:
        """Serve these realms from now on. Any thread may call it."""
        if self._workers is not None:
            self._workers.tell((config, urls, closed))
        else:
            self._line.send((config, urls, closed))

    def run(self) -> None:
        """Serve until a signal. Further ones are ignored afterwards: they must not disturb the cleaning up."""
        try:
            if self._workers is not None:
                _serve_in(self._workers, self._listening)
            else:
                serve(self._news, self._served, *self._arguments)
        finally:
            signals.ignore()


def _serve_in(workers: Workers, listening: socket.socket) -> None:
    try:
        workers.keep_running()
    finally:
        listening.close()  # or the kernel would go on taking connections that nobody answers
        workers.end()


def serve(news: Connection, served: Served, connections: int, listening: socket.socket) -> None:
    """Serve in this process until a signal, with so many connections to databases; other realms as `news` come."""
    _Server(news, served, connections).run([listening])


class _Server(uvicorn.Server):
    """Ends as sync-server promises: running requests end, what has stopped coming is not waited for, exit 0."""

    def __init__(self, news: Connection, served: Served, connections: int) -> None:
        self._news = news
        config = served[0]
        self._application = _Application(served, connections)
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()  # what is there now stays: looking through it again and again would stop all calls for 30 ms each time
        threading.Thread(target=self._listen, args=(asyncio.get_running_loop(),), daemon=True).start()

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the news of other realms; nobody sends any when the supervisor is gone or the loop is closed."""
        with contextlib.suppress(EOFError, OSError, RuntimeError):
            while True:
                loop.call_soon_threadsafe(self._application.replace, *self._news.recv())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in good order, within the grace."""
        self._application.stop_receiving()
        closing = asyncio.create_task(self._close_latecomers())
        try:
            await super().shutdown(sockets)
        finally:
            closing.cancel()
            await self._application.close()

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

    def __init__(self, served: Served, connections: int) -> None:
        config, urls, closed = served
        self._litestar = create_app(config, urls, connections, closed)
        self._watch = Watch(Tally(), Lines(config.logs.requests), self._litestar.state["reports"])
        self._admin: Gate = self._litestar.state["admin"]

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
            await (self._admin if gate.is_for(scope["path"]) else self._litestar)(scope, receive, send)
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


def _refusal_in(exc: BaseException) -> Refusal | None:
    """The refusal that ended an answer which had begun, in whatever it was wrapped on its way."""
    if isinstance(exc, Refusal):
        return exc
    inner = exc.exceptions if isinstance(exc, BaseExceptionGroup) else (exc.__cause__, exc.__context__)
    return next((found for each in inner if each is not None and (found := _refusal_in(each)) is not None), None)
