"""Connections that nobody waits for without end, and that have a place in the budget while they are open."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from sync_server.deadlines import Bounded, Deadlines
from sync_server.places import Places
from sync_server.signs import Signs
from sync_server.statements import Running

T = TypeVar("T")
ANSWER = 2.0
"""Seconds that a database gets to answer that it has cancelled a statement, before the connection is cut."""
_CONNECT = 5
_CONNECT_SEVERAL = 2
"""Seconds per host, where the URL names several: the one that works must have its turn while the call still waits."""
_KEEPALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A machine that is gone without a word is noticed within a minute. What a URL says of these comes first."""

_CANCELLING: set[asyncio.Task[None]] = set()
"""Requests to cancel a statement, which nobody may wait for any more."""


def parameters(url: str) -> dict[str, Any]:
    """What the server adds to the URL of a database."""
    given = conninfo_to_dict(url)
    several = "," in str(given.get("host") or given.get("hostaddr") or "")
    return {
        **{name: value for name, value in _KEEPALIVE.items() if name not in given},
        "connect_timeout": _CONNECT_SEVERAL if several else _CONNECT,
        "client_encoding": "UTF8",
    }


def hang_up(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Have whoever waits for the database find the connection lost. Any thread may call it."""
    line = _line(connection)
    if line is not None:
        with line, suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def _line(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> socket.socket | None:
    """The connection's socket once more; None when it is closed."""
    with suppress(OSError, psycopg.Error):
        return socket.socket(fileno=os.dup(connection.pgconn.socket))
    return None


class NotReplicated(psycopg.OperationalError):
    """A commit was given up while it waited for the synchronous standby: it is on the primary, and would be lost with it."""


class Connection(psycopg.AsyncConnection[Any], Bounded):
    """A connection of a pool. It holds one of `places` from before it is made until the database has let go of it."""

    running: Running
    """What runs statements on it."""
    _places: Places | None = None
    _deadlines: Deadlines
    _timeout: asyncio.Timeout | None = None
    was_cut = False
    """Whether the database did not answer in time."""
    leads_nowhere = False
    """Whether it led to a server that takes no changes, such as a primary that has become a standby."""
    _waited_in_vain = False

    @classmethod
    async def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, places: Places, signs: Signs, deadlines: Deadlines, prepare: bool, **kwargs: Any
    ) -> Connection:
        """`signs` are told whether the database answers. `prepare`: whether statements may be prepared."""
        await places.reserve()
        try:
            with signs.connecting():
                # next to nothing goes through psycopg's cursors, which would prepare statements of their own
                connection = await super().connect(conninfo, prepare_threshold=None, **kwargs)
        except BaseException:
            places.cancel_reservation()
            raise
        connection._places, connection._deadlines = places, deadlines  # noqa: SLF001 - our own
        connection.running = Running(connection, prepare=prepare)
        places.occupy(connection)
        connection.add_notice_handler(connection._hear)  # noqa: SLF001 - our own
        return connection

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        """PostgreSQL says by a mere warning, in any language, that a commit which it calls done was not replicated."""
        if notice.source_function == "SyncRepWaitForLSN":
            self._waited_in_vain = True

    def check_replicated(self) -> None:
        """Raises NotReplicated if the commit before was cancelled, by an administrator, say, while it waited."""
        if self._waited_in_vain:
            raise NotReplicated("the commit was not replicated")

    async def close(self) -> None:
        places, self._places = self._places, None
        if places is None:
            await super().close()
            return
        line = _line(self)
        await super().close()
        places.vacate(self, line)

    async def cancel_safe(self, *, timeout: float = ANSWER) -> None:  # noqa: ASYNC109 - the library's
        """As psycopg's, which calls this when a task is cancelled, but sooner at its end, and not to be cut short.

        The end of an HTTP connection cancels at every await. A request to cancel that is broken off leaves the statement
        running, and PgBouncer 1.18 ends because of it (its issue 801).
        """
        request = asyncio.create_task(super().cancel_safe(timeout=min(timeout, ANSWER)))
        _CANCELLING.add(request)
        request.add_done_callback(_CANCELLING.discard)
        interrupted: asyncio.CancelledError | None = None
        while not request.done():
            try:
                await asyncio.shield(request)
            except asyncio.CancelledError as exc:
                interrupted = exc  # whoever hangs up now has PgBouncer forget what the request was about
        if interrupted is not None:
            raise interrupted

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        """The result of `work`. Raises TimeoutError when it takes longer: its statement is cancelled, and the connection cut
        if the database does not answer even that.

        Whatever it waits for, rollbacks included, it ends ANSWER seconds later. When the task is cancelled from outside it
        ends in the same way, by psycopg's own limits.
        """
        self._waited_in_vain = False
        self._timeout = asyncio.timeout(None)
        self._deadlines.begin(self, seconds, ANSWER)
        try:
            async with self._timeout:
                return await work
        finally:
            self._deadlines.end(self)

    def tell(self) -> None:
        """The time is over."""
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def cut(self) -> None:
        """Hang up at once: whoever waits for the database finds the connection lost."""
        self.was_cut = True
        hang_up(self)

    @property
    def usable(self) -> bool:
        """Whether the next call may have it."""
        return not self.closed and not self.leads_nowhere and self.pgconn.transaction_status == TransactionStatus.IDLE


class ConnectionPool(AsyncConnectionPool[Connection]):
    """psycopg's pool, which can be asked to give up a connection that nobody uses."""

    @property
    def idle(self) -> int:
        return len(self._pool)

    def take(self) -> Connection | None:
        """An idle connection, the one that was used last; None where getconn() has more to do than to give one."""
        if self._closed or not self._pool:
            return None
        connection = self._pool.pop()
        self._nconns_min = min(self._nconns_min, len(self._pool))
        connection._pool = self  # noqa: SLF001 - as getconn() does
        return connection

    def put(self, connection: Connection) -> bool:
        """Take a connection back; False where putconn() has more to do than that."""
        if self._closed or self._waiting or connection._expire_at <= time.monotonic():  # noqa: SLF001 - the library's
            return False
        connection._pool = None  # noqa: SLF001 - as putconn() does
        self._pool.append(connection)
        return True

    async def give_up_one(self) -> bool:
        """Close the connection that has been idle for longest; whether there was one. As `_shrink_pool` of psycopg."""
        async with self._lock:
            if not self._pool:
                return False
            connection = self._pool.popleft()
            self._nconns -= 1
            self._nconns_min = min(self._nconns_min, len(self._pool))
        await self._close_connection(connection)
        return True
