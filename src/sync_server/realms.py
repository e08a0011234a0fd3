"""Realms: one app or user group each, with a database of its own, and the transactions that run there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeVar

from sync_server import connection_url
from sync_server.budget import Budget
from sync_server.config import Config, RealmSettings
from sync_server.database import Tx
from sync_server.errors import Unavailable, UnknownRealm
from sync_server.observing.spans import span
from sync_server.pools import Pool
from sync_server.room import Room
from sync_server.together import Together

T = TypeVar("T")
Q = TypeVar("Q")
_CLOSING = 2.0
"""Seconds that what is under way in the databases gets when the server ends."""
_RETRY_AFTER = 5
_PoolKey = tuple[frozenset[tuple[str, str]], bool]


class Use(NamedTuple):
    in_use: int
    idle: int
    waiting: int
    """Calls that wait for one."""


class Way(Protocol):
    """What runs transactions: a pool, or what stands before one."""

    async def run(self, schema: str, work: Callable[[Tx], Awaitable[T]], *, in_transaction: bool) -> T:
        """See Pool.run."""


@dataclass(frozen=True)
class Realm:
    """A realm's name, settings and way to its database."""

    name: str
    settings: RealmSettings
    _pool: Pool
    app_name: str
    _way: Way | None = field(default=None, compare=False)
    _together: dict[Callable[..., Any], Together[Any, Any]] = field(default_factory=dict, compare=False, repr=False)
    room: Room = field(default_factory=Room, compare=False, repr=False)
    """For syncs: see sync/crowd.py."""

    def by(self, way: Way) -> Realm:
        """The same realm, whose transactions go this way to its database."""
        return replace(self, _way=way, _together={})

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` in a transaction and commit it; the whole again when the database asks for it.

        `work` must not have effects beyond the transaction. A connection lost during the commit is tried again too: the
        rules find what they have already stored (G5). Raises Unavailable when it cannot be done within the limits.
        """
        with span("transaction"):
            return await (self._way or self._pool).run(self.settings.schema, work, in_transaction=True)

    async def once(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """As transact, for `work` that writes by a single statement: it is a transaction of its own, at less cost."""
        with span("statement"):
            return await (self._way or self._pool).run(self.settings.schema, work, in_transaction=False)

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work`, which is to be a single statement, without the cost of a transaction around it."""
        with span("statement"):
            return await (self._way or self._pool).run(self.settings.schema, work, in_transaction=False)

    async def read_together(self, work: Callable[[Tx, Sequence[Q]], Awaitable[Sequence[T]]], question: Q) -> T:
        """As read, once for all who ask at the same moment. `work` answers each question at its place."""
        together = self._together.get(work)
        if together is None:
            together = self._together[work] = Together(lambda questions: self.read(lambda tx: work(tx, questions)))
        answer: T = await together.ask(question)
        return answer

    @property
    def use(self) -> Use:
        """Of the connections to its database, at this moment."""
        return Use(self._pool.turns, self._pool.idle, len(self._pool.waiting))

    @property
    def in_use(self) -> bool:
        """Whether its database is at work, so that one more question wakes nobody."""
        return self._pool.open

    @property
    def pool(self) -> Pool:
        """The way to its database, which realms of one database share."""
        return self._pool

    @property
    def counts(self) -> Counter[str]:
        """What has happened to transactions in its database since the start: see Pool.counts."""
        return self._pool.counts


class Realms:
    """Every realm of the configuration, by name without regard to case. Opens nothing."""

    def __init__(
        self,
        config: Config,
        urls: dict[str, str],
        connections: int | None = None,
        closed: Collection[str] = (),
    ) -> None:
        """`urls`: by realm name, the connection URLs with "embedded" resolved. `connections`: this process's share of
        `db.max_connections`, all of them if not given. `closed`: see `replace`.
        """
        self._timeout = config.db.timeout
        self.budget = Budget(connections or config.db.max_connections)
        self._pools: dict[_PoolKey, Pool] = {}
        self._retired: list[Pool] = []
        self._realms: dict[str, Realm] = {}
        self.replace(config, urls, closed)

    def replace(self, config: Config, urls: dict[str, str], closed: Collection[str]) -> None:
        """Serve these realms from now on; those that are `closed` are not up to date yet and answer 503.

        Calls under way end with the realm that they began with.
        """
        self._closed = frozenset(closed)
        before, self._pools = self._pools, {}
        realms = {name: self._realm(config, name, urls[name], before) for name in config.db.realms}
        # one that is as it was stays the same object, by which others know it
        self._realms = {
            name: self._realms[name] if realm == self._realms.get(name) else realm for name, realm in realms.items()
        }
        self._unknown = (config.db.unknown_realms or "").lower()
        self._retired = [pool for pool in self._retired if pool.turns or pool.idle]
        for key, pool in before.items():
            if key not in self._pools:
                pool.retired = True
                self._retired.append(pool)

    def _realm(self, config: Config, name: str, url: str, before: dict[_PoolKey, Pool]) -> Realm:
        settings = config.db.realms[name]
        key = (connection_url.meaning(url), settings.prepared_statements)
        if key not in self._pools:
            prepared = settings.prepared_statements
            pool = before.get(key) or Pool(url, self.budget, timeout=self._timeout, prepared_statements=prepared)
            pool.realms = []
            self._pools[key] = pool
        self._pools[key].realms.append(name)
        return Realm(name, settings, self._pools[key], config.app_name(name))

    def get(self, name: str) -> Realm:
        """The realm of this name; the one for unknown names, if configured. Raises UnknownRealm, or Unavailable."""
        return self._served(self._realms.get(name.lower()) or self._realms.get(self._unknown))

    def named(self, name: str) -> Realm:
        """The realm of this very name. Raises UnknownRealm, or Unavailable."""
        return self._served(self._realms.get(name.lower()))

    def _served(self, realm: Realm | None) -> Realm:
        if realm is None:
            raise UnknownRealm
        if realm.name in self._closed:
            raise Unavailable(retry_after=_RETRY_AFTER)
        return realm

    def everyone(self) -> list[tuple[Realm, bool]]:
        """All realms by name, also those that are not served, and whether they are."""
        return [(realm, name not in self._closed) for name, realm in sorted(self._realms.items())]

    def __iter__(self) -> Iterator[Realm]:
        """Those that are served."""
        return iter([realm for name, realm in self._realms.items() if name not in self._closed])

    @property
    def names(self) -> list[str]:
        """Of all, also those that are not served yet."""
        return list(self._realms)

    @property
    def pools(self) -> list[Pool]:
        """Every database."""
        return list(self._pools.values())

    async def close(self) -> None:
        """Close every pool. What is still under way is cut after a moment: a database that hangs must not hold the end."""
        pools = [*self._pools.values(), *self._retired]
        deadline = time.monotonic() + _CLOSING
        while any(pool.turns for pool in pools) and time.monotonic() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.05)
        self.budget.places.cut_all()
        await asyncio.gather(*(pool.close() for pool in pools))
        await self.budget.places.emptied()


@asynccontextmanager
async def opened(config: Config, urls: dict[str, str]) -> AsyncIterator[Realms]:
    """The realms, for something that is done once: they are closed at its end."""
    realms = Realms(config, urls)
    try:
        yield realms
    finally:
        await realms.close()
