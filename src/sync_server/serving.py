"""Running the server: one process or several workers, and the orderly end of both."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import multiprocessing
import socket
import tempfile
import threading
from collections.abc import Generator
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import structlog
import uvicorn

from sync_server import heads, signals
from sync_server.complaint import Complaint
from sync_server.config import Config
from sync_server.entrance import Entrance, Served
from sync_server.observing.monitoring import Watched
from sync_server.workers import Workers

log = structlog.get_logger()
_BACKLOG = 2048
_GARBAGE = 10_000
"""Objects after which Python looks for cycles among them. By default some 700, which as few as ten calls have at once."""
_KEEP_ALIVE = 30
"""Seconds that an idle connection is kept."""


class ServeError(Complaint):
    """The server cannot run; one line says why."""


def listen(host: str, port: int, remedy: str = "--host, --port or PORT") -> socket.socket:
    """A listening socket. Raises ServeError when the address cannot be had; `remedy`: what names another one."""
    host = host.removeprefix("[").removesuffix("]")  # an IPv6 address as in a URL
    try:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, ValueError, TypeError) as exc:  # the others: a host name that cannot be one
        reason = exc.strerror if isinstance(exc, OSError) else "that is no host name"
        raise ServeError(f"Cannot listen on {host} port {port}: {reason}; {remedy} names another") from exc
    listening.setblocking(False)  # noqa: FBT003 - the library's
    return listening


def _can_trace() -> bool:
    try:
        return (
            find_spec("opentelemetry.sdk") is not None
            and find_spec("opentelemetry.exporter.otlp.proto.http") is not None
        )
    except ModuleNotFoundError:
        return False


class Serving:
    """The server: one process or several."""

    def __init__(
        self, config: Config, urls: dict[str, str], closed: frozenset[str], listening: socket.socket, workers: int
    ) -> None:
        """`closed`: realms that are not up to date yet. Raises ServeError when there are fewer connections than workers."""
        connections = config.db.max_connections // workers  # whichever way the work falls, the sum is within the limit
        if not connections:
            raise ServeError(f"{workers} workers need {workers} connections at least: raise db.max_connections")
        if config.tracing.endpoint is not None and not _can_trace():
            raise ServeError(
                "tracing.endpoint takes packages that are not installed: pip install 'sync-server[tracing]'"
            )
        self._listening = [listening]
        if config.metrics.port is not None:
            self._listening.append(listen(config.metrics.host, config.metrics.port, "metrics.host or metrics.port"))
        # a directory in which the processes tell each other their numbers
        self._shared = tempfile.TemporaryDirectory(prefix="sync-server-") if workers > 1 and config.metrics.on else None
        shared = Path(self._shared.name) if self._shared is not None else None
        self._arguments = (connections, self._listening, shared)
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
            if self._shared is not None:
                self._shared.cleanup()


def _serve_in(workers: Workers, listening: list[socket.socket]) -> None:
    try:
        workers.keep_running()
    finally:
        for each in listening:
            each.close()  # or the kernel would go on taking connections that nobody answers
        workers.end()


def serve(
    news: Connection, served: Served, connections: int, listening: list[socket.socket], shared: Path | None
) -> None:
    """Serve in this process until a signal, with so many connections to databases; other realms as `news` come.

    `listening`: for devices, and for metrics if that is another. `shared`: see Watched.
    """
    port = listening[1].getsockname()[1] if len(listening) > 1 else None
    _Server(news, served, connections, Watched(port=port, shared=shared)).run(listening)


class _Server(uvicorn.Server):
    """Ends as sync-server promises: running requests end, what has stopped coming is not waited for, exit 0."""

    def __init__(self, news: Connection, served: Served, connections: int, watched: Watched) -> None:
        self._news = news
        config = served[0]
        self._application = Entrance(served, connections, watched)
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
        gc.set_threshold(_GARBAGE)
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
