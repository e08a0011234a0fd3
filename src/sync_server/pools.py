"""The connections to one database, and the transactions on them: bounded in time, and tried again where that may help."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
import structlog
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout

from sync_server.breaker import Breaker, NotAnswering
from sync_server.budget import Budget, Holder, NoTurn
from sync_server.connections import ANSWER, Connection, ConnectionPool, parameters
from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.signs import Signs
from sync_server.undisturbed import to_the_end

T = TypeVar("T")
log = structlog.get_logger()

ATTEMPTS = 10
"""With the pauses between them some two seconds, so that several calls that meet again and again all get through."""
POOL_TIMEOUT = 5.0
"""Seconds that a call waits for a connection before it is answered with 503."""
IDLE = 20.0
"""Seconds after which a pool that nobody has used holds nothing any more: no connection, no task."""
_RETIRED_IDLE = 2.0
_SHORTEST = 1.0
"""Seconds that the database gets for a connection, however long the call has waited for its turn."""
_PROBE = 3.0
"""Seconds that a database which did not answer gets to show that it does."""
_RETRY_AFTER = 5

_CONFLICTS = (pg.SerializationFailure, pg.DeadlockDetected, pg.ForeignKeyViolation)
"""The last one: the user or client went away between a statement's look and its deed; the next look finds them gone."""
_NOT_READY = (pg.UndefinedTable, pg.UndefinedColumn, pg.InvalidSchemaName, pg.InsufficientPrivilege)
"""A database that was not migrated, or whose role may not use it: for the operator to mend, and not for the client."""
_STANDBY = (pg.ReadOnlySqlTransaction, pg.FeatureNotSupported)
"""What a server says that takes no changes (any more), and of sync.syncs, which has no content there."""
_LOST = (psycopg.OperationalError, *_STANDBY, pg.IdleInTransactionSessionTimeout)


class Pool(Holder):
    """One database. Opens connections when they are needed and the budget allows, and holds none when idle."""

    def __init__(self, url: str, budget: Budget, *, timeout: float, prepared_statements: bool) -> None:
        """`timeout`: seconds that all the tries of a transaction may take together, once there is a connection."""
        super().__init__()
        self.realms: list[str] = []
        """Who uses it, for the log."""
        self.counts: Counter[str] = Counter()
        """What happened since the start: `calls`, `retried`, `given_up`, `lost`, `unanswered`, `turned_away`."""
        self.retired = False
        """Whether no new call will come: then it closes soon after the last one."""
        self._url = url
        self._budget = budget
        self._timeout = timeout
        self._prepare = prepared_statements
        self._breaker = Breaker(budget)
        self._signs = Signs()
        self._pool: ConnectionPool | None = None
        self._ended = False
        self._closing: set[asyncio.Task[None]] = set()
        budget.enter(self)

    async def run(self, schema: str, work: Callable[[Tx], Awaitable[T]], *, in_transaction: bool) -> T:
        """See Realm.transact. However the database behaves, it ends `timeout` + POOL_TIMEOUT (+ ANSWER) seconds later."""
        last_try = time.monotonic() + self._timeout
        give_up = last_try + POOL_TIMEOUT
        self.counts["calls"] += 1
        for attempt in range(ATTEMPTS):
            try:
                return await self._try(schema, work, in_transaction, give_up)
            except _CONFLICTS as exc:
                log.info("transaction_retried", realms=self.realms, attempt=attempt, sqlstate=exc.sqlstate)
            except (NoTurn, NotAnswering, PoolTimeout, TimeoutError) as exc:
                raise self._unavailable(exc) from exc
            except _NOT_READY as exc:
                hint = "sync-server check says more"
                log.error("database_not_ready", realms=self.realms, reason=exc.diag.message_primary, hint=hint)
                raise Unavailable(retry_after=_RETRY_AFTER) from exc
            except psycopg.Error as exc:
                if not isinstance(exc, _LOST) and not _broke_in_the_middle(exc):
                    raise
                self._look_at(exc, attempt)
            self.counts["retried"] += 1
            pause = random.uniform(0.5, 1.0) * min(1.0, 0.01 * 2**attempt)  # noqa: S311 - no secret
            if attempt == ATTEMPTS - 1 or time.monotonic() + pause > last_try:
                break
            await asyncio.sleep(pause)
        self.counts["given_up"] += 1
        log.warning("transaction_given_up", realms=self.realms, attempts=attempt + 1)
        raise Unavailable(retry_after=_RETRY_AFTER)

    def _look_at(self, exc: psycopg.Error, attempt: int) -> None:
        """Raises Unavailable unless the same transaction may succeed on another connection."""
        self.counts["lost"] += 1
        log.warning(
            "database_error", realms=self.realms, attempt=attempt, sqlstate=exc.sqlstate, reason=type(exc).__name__
        )
        if not _connection_lost(exc):
            raise Unavailable(retry_after=_RETRY_AFTER) from exc

    def _unavailable(self, exc: Exception) -> Unavailable:
        if isinstance(exc, NotAnswering):
            self.counts["turned_away"] += 1
            return Unavailable(retry_after=math.ceil(exc.retry_after))
        self.counts["unanswered"] += 1
        log.warning("database_unavailable", realms=self.realms, reason=type(exc).__name__)
        return Unavailable(retry_after=_RETRY_AFTER)

    async def _try(
        self,
        schema: str,
        work: Callable[[Tx], Awaitable[T]],
        in_transaction: bool,
        give_up: float,
    ) -> T:
        """Run `work` once, until `give_up` at most. Most often nothing has to be waited for but the database's answer."""
        probing = self._breaker.let_through()
        try:
            deadline = min(time.monotonic() + POOL_TIMEOUT, give_up)
            if not self._budget.take_at_once(self):
                await self._budget.take(self, deadline - time.monotonic())
            try:
                pool = self._pool or await self._open()
                connection = pool.take()
                if connection is None:
                    pool, connection = await self._get(deadline)
                try:
                    if probing:
                        await self._probe(connection)
                    seconds = min(self._timeout, give_up - time.monotonic())
                    return await connection.within(seconds, _run(connection, schema, work, in_transaction))
                except _STANDBY:
                    connection.leads_nowhere = True
                    raise
                finally:
                    if not self._put_at_once(pool, connection):
                        # who goes away cancels at every await, and a connection that is not put back is lost to the pool
                        await to_the_end(self._put(pool, connection), self._closing)
            finally:
                self._budget.give_back(self)
        finally:
            if probing:
                self._breaker.end_probe()

    async def _get(self, deadline: float) -> tuple[ConnectionPool, Connection]:
        begun = time.monotonic()
        while True:
            pool = await self._open()
            try:
                return pool, await pool.getconn(timeout=max(_SHORTEST, deadline - time.monotonic()))
            except PoolClosed:  # it was let go; there is another one
                if pool is self._pool:
                    raise PoolTimeout from None
            except PoolTimeout:
                # or it was we who had none to give, because calls take long: others may be served
                if time.monotonic() - begun > _SHORTEST * 2 and self._signs.silent_since(begun):
                    self._unanswered()
                raise

    def _put_at_once(self, pool: ConnectionPool, connection: Connection) -> bool:
        """Put back a connection with which all is well, if that takes no more."""
        if connection.was_cut or not connection.usable or not pool.put(connection):
            return False
        self._signs.answers()
        return True

    async def _put(self, pool: ConnectionPool, connection: Connection) -> None:
        if connection.usable:
            self._signs.answers()
        others_answered = self._signs.answered_since(time.monotonic() - ANSWER)
        if connection.was_cut and not others_answered:  # else it was this connection that was dead
            self._unanswered()
        if not connection.usable:  # the idle ones may be as dead, and psycopg would replace this one at once
            self._let_go(pool)
            await connection.close()
        await pool.putconn(connection)

    async def _probe(self, connection: Connection) -> None:
        await connection.within(_PROBE, connection.execute("SELECT 1"))
        self._breaker.answered()
        log.info("database_answers_again", realms=self.realms)

    def _unanswered(self) -> None:
        """The database did not answer: whoever waits for it waits in vain."""
        if self._breaker.failed():
            log.warning(
                "database_does_not_answer", realms=self.realms, action="turning calls away, trying now and then"
            )
        self._budget.turn_away(self)
        if self._pool is not None:
            self._let_go(self._pool)

    async def _open(self) -> ConnectionPool:
        if self._pool is None:
            if self._ended:  # whoever still waits must not open what nobody would close
                raise NoTurn
            self._budget.enter(self)
            self._pool = ConnectionPool(
                self._url,
                connection_class=Connection,
                min_size=0,
                max_size=self._budget.size,
                open=False,
                max_idle=IDLE,
                reconnect_timeout=POOL_TIMEOUT,
                kwargs={
                    **parameters(self._url),
                    "places": self._budget.places,
                    "signs": self._signs,
                    "deadlines": self._budget.deadlines,
                    "prepare": self._prepare,
                    "autocommit": True,
                    "application_name": "sync-server",
                },
            )
            await self._pool.open(wait=False)
        return self._pool

    def _let_go(self, pool: ConnectionPool) -> None:
        """Close the pool, those of its connections that are in use when they come back; the next call opens another."""
        if pool is self._pool:
            self._pool = None
        closing = asyncio.create_task(pool.close(timeout=0.1))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    # What the budget asks for

    @property
    def idle(self) -> int:
        return self._pool.idle if self._pool is not None else 0

    @property
    def open(self) -> bool:
        return self._pool is not None

    @property
    def answers(self) -> bool:
        """False while calls are turned away because the database did not answer."""
        return self._breaker.closed

    async def give_way(self) -> None:
        if self._pool is not None:
            await self._pool.give_up_one()

    def rest(self, now: float) -> bool:
        idle = now - self.last_used > (_RETIRED_IDLE if self.retired else IDLE)
        if self._pool is not None and not self.turns and idle:
            self._let_go(self._pool)
        if self.retired and self._pool is None and not self.turns:
            self._budget.leave(self)
        return self._pool is None

    async def close(self) -> None:
        """For good."""
        self._ended = True
        if self._pool is not None:
            self._let_go(self._pool)
        await asyncio.gather(*self._closing, return_exceptions=True)


async def _run(connection: Connection, schema: str, work: Callable[[Tx], Awaitable[T]], in_transaction: bool) -> T:
    tx = Tx(connection, schema, connection.running)
    if in_transaction:
        async with connection.transaction():
            done = await work(tx)
    else:
        done = await work(tx)
    connection.check_replicated()
    return done


def _broke_in_the_middle(exc: psycopg.Error) -> bool:
    """Whether what came was no answer to what was asked, as when a pooler says goodbye: nobody said what was wrong."""
    return exc.sqlstate is None and type(exc) in {psycopg.InternalError, psycopg.DatabaseError}


def _connection_lost(exc: psycopg.Error) -> bool:
    """Whether the same transaction may succeed on another connection: lost, or the server restarts or fails over."""
    state = exc.sqlstate
    return state is None or state[:2] == "08" or state in {"57P01", "57P02", "57P03", "25006", "0A000"}
