"""Realms: one app or user group each, with a database of its own, and the transactions that run there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import errors as pg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from sync_server.config import Config, RealmSettings
from sync_server.database import Tx
from sync_server.errors import Unavailable, UnknownRealm

T = TypeVar("T")
log = structlog.get_logger()

ATTEMPTS = 6
POOL_TIMEOUT = 5.0
"""Seconds that a call waits for a connection before it is answered with 503."""
_RETRY_AFTER = 5

_CONFLICTS = (pg.SerializationFailure, pg.DeadlockDetected, pg.ForeignKeyViolation)
"""The last one: the user or client went away between a statement's look and its deed; the next look finds them gone."""
_NOT_READY = (pg.UndefinedTable, pg.InvalidSchemaName, pg.InsufficientPrivilege)
"""A database that was not migrated, or whose role may not use it: for the operator to mend, and not for the client."""


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


class Pool:
    """The connections to one database, opened on first use and given back when idle."""

    def __init__(self, url: str, *, size: int, timeout: float, prepared_statements: bool) -> None:
        self._timeout = timeout
        self._opening = asyncio.Lock()
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
            url,
            min_size=0,
            max_size=size,
            open=False,
            timeout=POOL_TIMEOUT,
            max_idle=60.0,
            max_waiting=1000,
            reconnect_timeout=POOL_TIMEOUT,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 5 if prepared_statements else None,
                "connect_timeout": 5,
                "application_name": "sync-server",
                "client_encoding": "UTF8",
            },
        )

    async def run(self, schema: str, work: Callable[[Tx], Awaitable[T]], *, in_transaction: bool) -> T:
        await self._open()
        for attempt in range(ATTEMPTS):
            try:
                async with asyncio.timeout(self._timeout), self._pool.connection() as connection:
                    if not in_transaction:
                        return await work(Tx(connection, schema))
                    async with connection.transaction():
                        return await work(Tx(connection, schema))
            except _CONFLICTS as exc:
                log.info("transaction_retried", attempt=attempt, sqlstate=exc.sqlstate)
            except (PoolTimeout, PoolClosed, TooManyRequests, TimeoutError) as exc:
                log.warning("database_unavailable", reason=type(exc).__name__)
                raise Unavailable(retry_after=_RETRY_AFTER) from exc
            except _NOT_READY as exc:
                log.error("database_not_ready", reason=exc.diag.message_primary, hint="sync-server check says more")
                raise Unavailable(retry_after=_RETRY_AFTER) from exc
            except (psycopg.OperationalError, pg.ReadOnlySqlTransaction, pg.IdleInTransactionSessionTimeout) as exc:
                log.warning("database_error", attempt=attempt, sqlstate=exc.sqlstate, reason=type(exc).__name__)
                if not _connection_lost(exc):
                    raise Unavailable(retry_after=_RETRY_AFTER) from exc
                await self._pool.check()  # a restarted database leaves every idle connection dead
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(1.0, 0.01 * 2**attempt))  # noqa: S311
        raise Unavailable(retry_after=_RETRY_AFTER)

    async def _open(self) -> None:
        if self._pool.closed:
            async with self._opening:
                await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2.0)


def _connection_lost(exc: psycopg.Error) -> bool:
    """Whether the same transaction may succeed on another connection: lost, or the server restarts or fails over."""
    state = exc.sqlstate
    return state is None or state[:2] == "08" or state in {"57P01", "57P02", "57P03", "25006"}


class Realms:
    """Every realm of the configuration, by name without regard to case. Opens nothing."""

    def __init__(self, config: Config, urls: dict[str, str]) -> None:
        """`urls`: by realm name, the connection URLs with "embedded" resolved."""
        self._config = config
        pools: dict[tuple[str, bool], Pool] = {}
        self._realms: dict[str, Realm] = {}
        for name, settings in config.db.realms.items():
            key = (urls[name], settings.prepared_statements)
            if key not in pools:
                pools[key] = Pool(
                    urls[name],
                    size=config.db.max_connections,
                    timeout=config.db.timeout,
                    prepared_statements=settings.prepared_statements,
                )
            self._realms[name] = Realm(name, settings, pools[key], config.app_name(name))
        self._pools = list(pools.values())

    def get(self, name: str) -> Realm:
        """The realm of this name; the one for unknown names, if configured. Raises UnknownRealm."""
        realm = self._realms.get(name.lower()) or self._realms.get((self._config.db.unknown_realms or "").lower())
        if realm is None:
            raise UnknownRealm
        return realm

    def __iter__(self) -> Iterator[Realm]:
        return iter(self._realms.values())

    async def close(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self._pools))
