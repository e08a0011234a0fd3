"""What people of the admin API may have of a database's connections, so that devices go on whatever they search for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary, WeakValueDictionary

from sync_server.admin.errors import TooSlow
from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.pools import Pool
from sync_server.realms import Realm

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds that a call waits for its turn."""
LONGEST = 15.0
"""Seconds that a question may take. What changes something has `db.timeout`, as calls of devices."""
_RETRY_AFTER = 5


class Shares:
    """A share of each database, which is a quarter of a process's connections, and two at least where there are three."""

    def __init__(self, connections: int, patience: float = PATIENCE, longest: float = LONGEST) -> None:
        self.size = max(1, min(2, connections - 1), connections // 4)
        self._times = patience, longest
        self._shares: WeakKeyDictionary[Pool, _Share] = WeakKeyDictionary()

    def of(self, realm: Realm, user_id: UUID) -> Realm:
        """The realm for one person, who gets half of the share: the others, who may have to stop them, have the rest."""
        share = self._shares.setdefault(realm.pool, _Share(self.size))
        return realm.by(_Limited(realm.pool, share, user_id, *self._times))


class _Share:
    """Of one database. Whoever comes first is served first, but that nobody has more than one half."""

    def __init__(self, size: int) -> None:
        self._all = asyncio.Semaphore(size)
        self._half = max(1, size // 2)
        self._each: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, user_id: UUID, patience: float) -> AsyncIterator[None]:
        """Raises Unavailable when it takes too long to get there."""
        own = self._each.setdefault(user_id, asyncio.Semaphore(self._half))
        entered = []
        try:
            async with asyncio.timeout(patience):
                for semaphore in (own, self._all):
                    await semaphore.acquire()
                    entered.append(semaphore)
        except TimeoutError:
            _leave(entered)
            message = "Too many questions are being answered at the moment, try again later"
            raise Unavailable(message, retry_after=_RETRY_AFTER) from None
        except BaseException:
            _leave(entered)
            raise
        try:
            yield
        finally:
            _leave(entered)


def _leave(entered: list[asyncio.Semaphore]) -> None:
    for semaphore in reversed(entered):
        semaphore.release()


class _Limited:
    """One person's way to a database."""

    def __init__(self, pool: Pool, share: _Share, user_id: UUID, patience: float, longest: float) -> None:
        self._pool = pool
        self._share = share
        self._user_id = user_id
        self._patience = patience
        self._longest = longest

    async def run(self, schema: str, work: Callable[[Tx], Awaitable[T]], *, in_transaction: bool) -> T:
        """See Pool.run. Raises TooSlow, too."""

        async def in_time(tx: Tx) -> T:
            try:
                async with asyncio.timeout(self._longest):
                    return await work(tx)  # whose statement is cancelled in the database, too
            except TimeoutError:
                raise TooSlow from None

        async with self._share.turn(self._user_id, self._patience):
            return await self._pool.run(schema, work if in_transaction else in_time, in_transaction=in_transaction)
