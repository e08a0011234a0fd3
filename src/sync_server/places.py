"""The places for connections that are open, in use or idle: never more than the budget, over all databases."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import psycopg

_PATIENCE = 5.0
"""Seconds that a new connection waits for a place."""
_FAREWELL = 0.5
"""Seconds that the database gets to let go of a connection that was closed."""

MakeRoom = Callable[[], Awaitable[object]]


class NoPlace(psycopg.OperationalError):
    """As many connections as the budget allows are in use."""


class Places:
    """Counts connections from before they are made until the database has let go of them.

    A PostgreSQL that was told goodbye counts the connection for another moment: who opened the next one meanwhile would
    be over the limit of its `max_connections`.
    """

    def __init__(self, size: int, make_room: MakeRoom) -> None:
        """`make_room` closes an idle connection, if there is one."""
        self._size = size
        self._make_room = make_room
        # weak: one that was lost without having been closed does not take a place for good
        self._open: WeakSet[Any] = WeakSet()
        self._making = 0
        self._leaving = 0
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def taken(self) -> int:
        return len(self._open) + self._making + self._leaving

    async def reserve(self) -> None:
        """Wait for a place, for which an idle connection gives way if need be. Raises NoPlace."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while self.taken >= self._size:
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(changed)
            try:
                if self._leaving < len(self._waiting):
                    await self._make_room()
                async with asyncio.timeout_at(deadline):
                    await changed
            except TimeoutError:
                raise NoPlace("every connection that the budget allows is in use") from None
            finally:
                self._waiting.discard(changed)
        self._making += 1

    def cancel_reservation(self) -> None:
        self._making -= 1
        self.notify()

    def occupy(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._making -= 1
        self._open.add(connection)

    def vacate(self, connection: psycopg.AsyncConnection[Any], line: socket.socket | None) -> None:
        """The connection was closed. `line`: its socket, on which the database still has to hang up."""
        self._open.discard(connection)
        if line is None:
            self.notify()
            return
        self._leaving += 1
        line.setblocking(False)  # noqa: FBT003 - the library's
        loop = asyncio.get_running_loop()
        loop.add_reader(line, self._last_words, line)
        loop.call_later(_FAREWELL, self._gone, line)

    def _last_words(self, line: socket.socket) -> None:
        with suppress(ConnectionError):
            try:
                if line.recv(65536):
                    return
            except BlockingIOError:
                return
        self._gone(line)

    def _gone(self, line: socket.socket) -> None:
        if line.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(line)
            line.close()
            self._leaving -= 1
            self.notify()

    def notify(self) -> None:
        """Something has changed: a place is free, or a connection has become idle."""
        for changed in self._waiting:
            if not changed.done():
                changed.set_result(None)

    async def emptied(self) -> None:
        """Wait until the databases have let go of what was closed; they get a moment for it."""
        while self._leaving:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.01)

    def cut_all(self) -> None:
        """Hang up on every database, whatever is under way."""
        for connection in list(self._open):
            connection.cut()
