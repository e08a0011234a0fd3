"""One budget of connections for all databases: never exceeded, fair, and nothing is held by what is idle."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from postgres import PREPARED
from realms.conftest import Took, call, look, serving
from sync_server import budget, pools
from sync_server.config import Config, Database
from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.realms import Realm

BUDGET = 4


@contextmanager
def most_connections(url: str, database: str = "%realms_%") -> Iterator[list[int]]:
    """The highest number of connections that servers had at the same time during the block.

    PostgreSQL tells of its sessions one by one, so a look may show one that ends and the one that takes its place. Those
    that two looks show were there between them.
    """
    most, stop = [0], threading.Event()
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'sync-server' AND datname LIKE %s"

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            before: set[Any] = set()
            while not stop.wait(0.005):
                now = set(connection.execute(query, [database]).fetchall())
                most[0] = max(most[0], len(before & now))
                before = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        stop.set()
        watcher.join()


def sleeps(seconds: float) -> Callable[[Tx], object]:
    async def work(tx: Tx) -> None:
        await look(tx)
        await asyncio.sleep(seconds)

    return work


async def all_of(calls: list[asyncio.Task[Took]]) -> list[Took]:
    return [await each for each in calls]


def test_more_databases_than_connections_are_all_served_within_the_budget(new_database: Callable[[], str]) -> None:
    urls = {f"realm{number}": new_database() for number in range(3 * BUDGET)}

    async def visit(realm: Realm) -> Took:
        await asyncio.sleep(random.uniform(0, 2))
        return await call(realm, sleeps(random.choice([0, 0, 0, 0.02])))

    async def work() -> int:
        async with serving(urls, connections=BUDGET, timeout=20) as realms:
            took = await asyncio.gather(*(visit(realm) for _ in range(20) for realm in realms))
            assert not [each for each in took if each.refusal]
            assert max(each.seconds for each in took) < 15
            return realms.budget.places.taken

    with most_connections(urls["realm0"]) as most:
        held = asyncio.run(work())
    assert 0 < held <= BUDGET
    if PREPARED:  # a pooler has as many as it likes
        assert 1 < most[0] <= BUDGET


def test_idle_realms_hold_neither_connections_nor_tasks(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_LOOK", 0.1)
    urls = {f"realm{number}": new_database() for number in range(BUDGET)}

    async def work() -> None:
        async with serving(urls, connections=BUDGET, timeout=5) as realms:
            await asyncio.gather(*(call(realm) for realm in realms))
            assert realms.budget.places.taken == BUDGET
            assert len(asyncio.all_tasks()) > 1
            monkeypatch.setattr(pools, "IDLE", 0.5)
            async with asyncio.timeout(60):
                while realms.budget.places.taken or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.05)
            assert (await call(realms.get("realm0"))).refusal is None

    asyncio.run(work())


def turns(realm: Realm) -> int:
    """How many of its calls have a connection, or are getting one."""
    return realm._pool.turns  # noqa: SLF001 - nothing else shows it


def test_one_busy_realm_leaves_room_for_the_others(new_database: Callable[[], str]) -> None:
    urls = {name: new_database() for name in ("busy", "second", "a", "b")}

    async def work() -> None:
        async with serving(urls, connections=8, timeout=20) as realms:
            slow = [asyncio.create_task(call(realms.get("busy"), sleeps(0.1))) for _ in range(20)]
            slow += [asyncio.create_task(call(realms.get("second"), sleeps(0.1))) for _ in range(20)]
            await asyncio.sleep(0.05)
            rounds = 0
            while not all(each.done() for each in slow):
                quick = [asyncio.create_task(call(realms.get(name))) for name in ("a", "b")]
                await asyncio.sleep(0)  # in which they begin
                assert [turns(realms.get(name)) for name in ("a", "b")] == [1, 1], "somebody has to wait"
                assert not [took for took in await all_of(quick) if took.refusal]
                rounds += turns(realms.get("busy")) + turns(realms.get("second")) > 1
            assert rounds, "nobody was busy"
            assert not [took for took in await all_of(slow) if took.refusal]

    asyncio.run(work())


def test_a_single_database_has_the_whole_budget(new_database: Callable[[], str]) -> None:
    async def work() -> None:
        all_there = asyncio.Barrier(6)

        async def meet(tx: Tx) -> None:
            await look(tx)
            await all_there.wait()

        async with serving({"only": new_database()}, connections=6, timeout=20) as realms:
            took = await asyncio.gather(*(call(realms.get("only"), meet) for _ in range(6)))
            assert not [each for each in took if each.refusal]

    asyncio.run(work())


def test_realms_of_one_database_share_a_pool_however_its_url_is_spelled(new_database: Callable[[], str]) -> None:
    url = new_database()
    scheme, _, rest = url.partition("://")
    path, _, options = rest.partition("?")
    turned = "&".join(reversed(options.split("&")))
    urls = {"a": url, "b": f"postgres://{path}?{turned}", "c": url + "&application_name=x"}

    async def work() -> None:
        async with serving(urls) as realms:
            a, b, c = (realms.get(name)._pool for name in urls)  # noqa: SLF001 - nothing else shows it
            assert a is b
            assert a is not c
            assert scheme == "postgresql"

    asyncio.run(work())


def test_a_realm_that_was_removed_and_its_connections_end_together(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_LOOK", 0.1)
    monkeypatch.setattr(pools, "_RETIRED_IDLE", 0.1)
    urls = {"kept": new_database(), "gone": new_database()}

    async def work() -> None:
        async with serving(urls, timeout=5) as realms, serving({"kept": urls["kept"]}) as fewer:
            begun = asyncio.Event()

            async def slow(tx: Tx) -> None:
                await look(tx)
                begun.set()
                await asyncio.sleep(0.5)

            under_way = asyncio.create_task(call(realms.get("gone"), slow))
            await begun.wait()
            settings = fewer.get("kept").settings
            config = Config(db=Database(realms={"kept": settings}))
            realms.replace(config, {"kept": urls["kept"]}, frozenset())
            assert (await under_way).refusal is None
            async with asyncio.timeout(60):
                while realms.budget.places.taken or realms.budget.holders > 1:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.05)

    asyncio.run(work())


def test_conflicts_are_tried_again_a_bounded_number_of_times(new_database: Callable[[], str]) -> None:
    async def conflict(tx: Tx) -> None:
        await look(tx)
        raise pg.SerializationFailure

    async def work() -> None:
        async with serving({"main": new_database()}, timeout=20) as realms:
            realm = realms.get("main")
            took = await call(realm, conflict)
            assert isinstance(took.refusal, Unavailable)
            assert took.refusal.retry_after
            assert took.seconds < 15
            assert (realm.counts["retried"], realm.counts["given_up"]) == (pools.ATTEMPTS, 1)

    asyncio.run(work())


def test_all_tries_together_have_the_time_of_one(new_database: Callable[[], str]) -> None:
    async def slow_conflict(tx: Tx) -> None:
        await look(tx)
        await asyncio.sleep(0.7)
        raise pg.SerializationFailure

    async def work() -> None:
        async with serving({"main": new_database()}, timeout=1.5) as realms:
            begun = time.monotonic()
            took = await call(realms.get("main"), slow_conflict)
            assert took.refusal is not None
            assert time.monotonic() - begun < 5, "ten tries of 0.7 seconds"

    asyncio.run(work())
