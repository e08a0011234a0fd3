"""How a realm is: whether its database answers, and what is in it. Nothing here waits longer than a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.realms import Realm

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds for each question."""


class Accounts(NamedTuple):
    users: int
    clients: int
    syncing: int
    """Clients with a sync under way."""
    mails: int
    """That wait to be sent."""


class Open(NamedTuple):
    """What nobody has restored or dismissed yet."""

    open_overridden: int
    open_kept_aside: int


class Rows(NamedTuple):
    rows: int
    """Without deleted ones."""
    overridden: int
    kept_aside: int


class Condition(NamedTuple):
    """None: the database does not answer, or not in time."""

    ms: float | None
    """How long an answer takes."""
    size: int | None
    """Bytes of the whole database; CockroachDB does not tell."""
    accounts: Accounts | None
    open: Open | None
    rows: Rows | None


async def of(realm: Realm) -> Condition:
    """Ask the realm's database, one question after the other; none more once one was in vain."""
    begun = time.monotonic()
    if await _in_time(realm.read(lambda tx: tx.value("database_time", {}))) is None:
        return Condition(None, None, None, None, None)
    ms = (time.monotonic() - begun) * 1000
    size = await _in_time(realm.read(_size))
    accounts = await _in_time(realm.read(lambda tx: tx.one(Accounts, "count_accounts", {})))
    opened = await _in_time(realm.read(lambda tx: tx.one(Open, "count_open", {})))
    rows = await _in_time(realm.read(lambda tx: tx.one(Rows, "count_rows", {})))
    return Condition(round(ms, 1), size, accounts, opened, rows)


async def _size(tx: Tx) -> int | None:
    if tx.on_cockroachdb:
        return None
    size: int = await tx.value("size_of_database", {})
    return size


async def _in_time(asked: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await asked
    except (TimeoutError, Unavailable):
        return None
