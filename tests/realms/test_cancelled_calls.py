"""Calls that are cancelled, as those of a device that goes away: the pool gets their connections back."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import psycopg
import pytest

from realms.conftest import Took, call, look, serving
from server.databases import count
from sync_server.database import Tx
from sync_server.realms import Realm

CONNECTIONS = 2


@types.coroutine
def cancelled_at(work: Coroutine[Any, Any, None], number: int, *, again: bool) -> Generator[Any, Any, bool]:
    """Do `work`, but cancel what it waits for the `number`th time, and with `again` each time after it, as the end of an
    HTTP connection does. Whether it came to its end without that.
    """
    waits_for = work.send(None)
    count = 0
    try:
        while True:
            count += 1
            if count == number or (again and count > number):
                if waits_for is not None:
                    waits_for._asyncio_future_blocking = False  # noqa: SLF001 - nobody waits for it, as a task would
                    waits_for.cancel()
                yield
                waits_for = work.throw(asyncio.CancelledError())
            else:
                yield waits_for
                waits_for = work.send(None)
    except StopIteration:
        return count < number
    except asyncio.CancelledError:
        return False


async def everybody(realm: Realm) -> list[Took]:
    """As many calls at the same time as there are connections; none ends before all have theirs."""
    all_there = asyncio.Barrier(CONNECTIONS)

    async def meet(tx: Tx) -> None:
        await look(tx)
        await all_there.wait()

    return await asyncio.gather(*(call(realm, meet) for _ in range(CONNECTIONS)))


@pytest.mark.parametrize("again", [False, True], ids=["once", "at every await"])
def test_whatever_a_cancelled_call_waited_for_its_connection_is_put_back(
    new_database: Callable[[], str], again: bool
) -> None:
    """Another call begins to wait for one in the moment in which it is put back; in no other does the return itself wait."""
    url = new_database()

    async def ended(number: int) -> bool:
        others: list[asyncio.Task[Took]] = []

        async def work(tx: Tx) -> None:
            await look(tx)
            others.append(asyncio.create_task(call(realm)))
            await asyncio.sleep(0)

        async with serving({"main": url}, connections=CONNECTIONS, timeout=20) as realms:
            realm = realms.get("main")
            done = await cancelled_at(realm.read(work), number, again=again)
            for took in [*await asyncio.gather(*others), *await everybody(realm)]:
                assert took.refusal is None
                assert took.seconds < 15, f"a connection was lost when the call was cancelled at await {number}"
        return done

    async def work() -> None:
        number = 1
        while not await ended(number):
            number += 1
        assert number > 4, "a connection, a statement, another call, and the return: something did not wait"

    asyncio.run(work())


def test_what_a_call_had_the_database_do_ends_when_the_call_is_cancelled_however_often(behind: str) -> None:
    """A request to cancel that is itself broken off leaves the statement waiting, and ends a PgBouncer 1.18."""
    url = behind

    async def work() -> None:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE sync.mails IN ACCESS EXCLUSIVE MODE")
            async with serving({"main": url}, connections=CONNECTIONS, timeout=30) as realms:
                task = asyncio.create_task(call(realms.get("main")))
                await until(lambda: waiting(url) == 1)
                while not task.done():
                    task.cancel()
                    await asyncio.sleep(0)
                await until(lambda: waiting(url) == 0)

    asyncio.run(work())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)


def waiting(url: str) -> int:
    """Statements that wait for a lock in this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return count(url, query)
