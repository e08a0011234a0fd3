"""A TCP proxy that does to connections what networks and hung machines do to them.

with Proxy(("127.0.0.1", port)) as proxy:  # or the path of a unix socket; or several: one after the other
    proxy.mode = FREEZE                    # acts on every connection, also on those that are there already
    proxy.fate = lambda: cut_answer(100)   # asked once for each new connection; counts while the mode is PASS
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

T = TypeVar("T")
Address = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""
_PIECE = 65536
_STEP = 0.02
"""Seconds between looks at whether the mode has changed."""


@dataclass(frozen=True, eq=False)
class Mode:
    """What happens to the bytes of a connection. "Up" is from the client to the server. Each one counts for itself."""

    delay: float = 0.0
    """Seconds that every piece is held back."""
    cut_up: int | None = None
    cut_down: int | None = None
    """Bytes that pass, since the mode began or the connection was made; then it is over, for their sender with a reset."""
    holds: bool = False
    """Nothing passes; what was held goes on its way afterwards."""
    swallows: bool = False
    """What comes is lost, also the end of a connection. Connections that lost something are reset afterwards."""
    refuses: bool = False
    """New connections are reset at once, and so are those that are there."""

    def limit(self, *, up: bool) -> int | None:
        return self.cut_up if up else self.cut_down


PASS = Mode()
FREEZE = Mode(holds=True)
BLACK_HOLE = Mode(swallows=True)
REFUSE = Mode(refuses=True)


def delay(seconds: float) -> Mode:
    return Mode(delay=seconds)


def cut_request(after: int = 0) -> Mode:
    """So many bytes of what the client sends arrive."""
    return Mode(cut_up=after)


def cut_answer(after: int = 0) -> Mode:
    """So many bytes of what the server answers arrive; it has received everything."""
    return Mode(cut_down=after)


class Proxy:
    """Listens on 127.0.0.1 as long as the block lasts. Threads may set `mode` and `fate` at any time.

    Of several targets each connection gets the next one, and where that refuses, the one after it.
    """

    def __init__(self, *targets: Address, fate: Callable[[], Mode] = lambda: PASS, port: int = 0) -> None:
        self.targets = list(targets)
        self.mode = PASS
        self.fate = fate
        self.port = port
        self.accepted = 0
        self._links: set[_Link] = set()
        self.made: WeakSet[asyncio.StreamWriter] = WeakSet()
        """Also those that are closing, which may wait for somebody to read."""
        self._turns = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._links)

    def cut(self) -> int:
        """Reset every connection that is open now; how many there were."""
        return self._run(self._cut())

    def hold(self) -> None:
        """Let nothing pass any more on the connections that are open now."""
        for link in list(self._links):
            link.fate = FREEZE

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.made.add(writer)
        link = _Link(self, self.fate(), writer)
        self._links.add(link)
        try:
            turn = next(self._turns) % len(self.targets)
            await link.carry(reader, self.targets[turn:] + self.targets[:turn])
        finally:
            self._links.discard(link)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    async def _end(self) -> None:
        """End also connections that are held."""
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in list(self.made):
            writer.transport.abort()
        await asyncio.sleep(0.01)  # in which the sockets are closed


class _Reset(Exception):
    """The connection is to be reset."""


@dataclass(eq=False)
class _Link:
    """One connection, and the one to the server behind it."""

    proxy: Proxy
    fate: Mode
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    lost: bool = False
    """Whether something of it was swallowed."""
    passed: dict[tuple[Mode, bool], int] = field(default_factory=dict)

    @property
    def mode(self) -> Mode:
        return self.fate if self.proxy.mode is PASS else self.proxy.mode

    async def carry(self, reader: asyncio.StreamReader, targets: list[Address]) -> None:
        with suppress(OSError, _Reset, asyncio.CancelledError):
            await self._until_free()
            server_reader, self.server = await _connect(targets)
            self.proxy.made.add(self.server)
            await _first_of(
                self._pump(reader, self.server, up=True),
                self._pump(server_reader, self.client, up=False),
                self._refused(),
            )
            await self._close()
            return
        self.reset()

    async def _refused(self) -> None:
        """Ends the connection also while nothing moves on it."""
        while not self.mode.refuses:  # noqa: ASYNC110 - set by other threads
            await asyncio.sleep(_STEP)
        raise _Reset

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        while data := await reader.read(_PIECE):
            await asyncio.sleep(self.mode.delay)
            await self._until_free()
            writer.write(self._cut_off(data, up=up))
            await writer.drain()
            if self._is_cut(up=up):
                writer.close()  # in good order: a reset may overtake what passed
                raise _Reset
        await self._until_free()

    async def _until_free(self) -> None:
        while True:
            mode = self.mode
            if mode.refuses or (self.lost and not mode.swallows):
                raise _Reset
            if not mode.holds and not mode.swallows:
                return
            self.lost = self.lost or mode.swallows
            await asyncio.sleep(_STEP)

    def _cut_off(self, data: bytes, *, up: bool) -> bytes:
        """What still passes of it."""
        mode = self.mode
        before = self.passed.get((mode, up), 0)
        limit = mode.limit(up=up)
        passing = data if limit is None else data[: max(0, limit - before)]
        self.passed[mode, up] = before + len(data)
        return passing

    def _is_cut(self, *, up: bool) -> bool:
        limit = self.mode.limit(up=up)
        return limit is not None and self.passed.get((self.mode, up), 0) > limit

    async def _close(self) -> None:
        for writer in self._writers():
            with suppress(OSError):
                await writer.drain()
            writer.close()

    def reset(self) -> None:
        for writer in self._writers():
            if writer.is_closing():
                continue
            with suppress(OSError):
                linger = struct.pack("ii", 1, 0)  # no goodbye: the other end hears of a reset
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    def _writers(self) -> Iterator[asyncio.StreamWriter]:
        return (writer for writer in (self.client, self.server) if writer is not None)


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run them until one ends, which ends the others; raises what it raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _connect(targets: list[Address]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first of them that takes the connection. Raises OSError when none does."""
    for target in targets[:-1]:
        with suppress(OSError):
            return await _connect([target])
    target = targets[-1]
    if isinstance(target, str):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


def address_of(database_url: str) -> Address:
    """Where PostgreSQL listens: the unix socket of an embedded one, or host and port."""
    parts = urlsplit(database_url)
    options = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    host, port = unquote(options.get("host", parts.hostname or "localhost")), options.get("port", parts.port or 5432)
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))


def through(proxy: Proxy, database_url: str) -> str:
    """The URL of the same database, by way of the proxy."""
    parts = urlsplit(database_url)
    user = f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@"
    return f"postgresql://{user}127.0.0.1:{proxy.port}{parts.path}?sslmode=disable&gssencmode=disable"
