"""Calls that are cancelled, as those of a device that goes away: the pool gets their connections back."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from realms.conftest import Took, call, look, serving
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

        async with serving({"main": url}, connections=CONNECTIONS, timeout=5) as realms:
            realm = realms.get("main")
            done = await cancelled_at(realm.read(work), number, again=again)
            for took in [*await asyncio.gather(*others), *await everybody(realm)]:
                assert took.refusal is None
                assert took.seconds < 2, f"a connection was lost when the call was cancelled at await {number}"
        return done

    async def work() -> None:
        number = 1
        while not await ended(number):
            number += 1
        assert number > 4, "a connection, a statement, another call, and the return: something did not wait"

    asyncio.run(work())
