"""Realms: one app or user group each, with a database of its own, and the transactions that run there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from sync_server import connection_url
from sync_server.budget import Budget
from sync_server.config import Config, RealmSettings
from sync_server.database import Tx
from sync_server.errors import UnknownRealm
from sync_server.pools import Pool

T = TypeVar("T")
_CLOSING = 2.0
"""Seconds that what is under way in the databases gets when the server ends."""
_PoolKey = tuple[frozenset[tuple[str, str]], bool]


class Realm:
    """A realm's name, settings and way to its database."""

    def __init__(self, name: str, settings: RealmSettings, pool: Pool, app_name: str) -> None:
        self.name = name
        self.settings = settings
        self.app_name = app_name
        self._pool = pool

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` in a transaction and commit it; the whole again when the database asks for it.

        `work` must not have effects beyond the transaction. A connection lost during the commit is tried again too: the
        rules find what they have already stored (G5). Raises Unavailable when it cannot be done within the limits.
        """
        return await self._pool.run(self.settings.schema, work, in_transaction=True)

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work`, which is to be a single statement, without the cost of a transaction around it."""
        return await self._pool.run(self.settings.schema, work, in_transaction=False)

    @property
    def counts(self) -> Counter[str]:
        """What has happened to transactions in its database since the start: see Pool.counts."""
        return self._pool.counts


class Realms:
    """Every realm of the configuration, by name without regard to case. Opens nothing."""

    def __init__(self, config: Config, urls: dict[str, str], connections: int | None = None) -> None:
        """`urls`: by realm name, the connection URLs with "embedded" resolved. `connections`: this process's share of
        `db.max_connections`, all of them if not given.
        """
        self._timeout = config.db.timeout
        self.budget = Budget(connections or config.db.max_connections)
        self._pools: dict[_PoolKey, Pool] = {}
        self._retired: list[Pool] = []
        self._realms: dict[str, Realm] = {}
        self.replace(config, urls)

    def replace(self, config: Config, urls: dict[str, str]) -> None:
        """Serve these realms from now on. Calls under way end with the realm that they began with."""
        before, self._pools = self._pools, {}
        self._realms = {name: self._realm(config, name, urls[name], before) for name in config.db.realms}
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
        """The realm of this name; the one for unknown names, if configured. Raises UnknownRealm."""
        realm = self._realms.get(name.lower()) or self._realms.get(self._unknown)
        if realm is None:
            raise UnknownRealm
        return realm

    def __iter__(self) -> Iterator[Realm]:
        return iter(list(self._realms.values()))

    async def close(self) -> None:
        """Close every pool. What is still under way is cut after a moment: a database that hangs must not hold the end."""
        pools = [*self._pools.values(), *self._retired]
        deadline = time.monotonic() + _CLOSING
        while any(pool.turns for pool in pools) and time.monotonic() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.05)
        self.budget.places.cut_all()
        await asyncio.gather(*(pool.close() for pool in pools))
