"""A database that accepts connections and then says nothing: no call waits beyond its limit, no other realm notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from proxies import BLACK_HOLE, FREEZE, PASS, Mode, Proxy
from realms.conftest import call, look, serving
from sync_server.connections import ANSWER
from sync_server.database import Tx
from sync_server.pools import POOL_TIMEOUT

TIMEOUT = 1.0
MARGIN = 1.5
"""Seconds that a busy machine may take more."""


class Fault(Exception):
    pass


def hang_in_statement(proxy: Proxy, mode: Mode) -> Callable[[Tx], object]:
    async def work(tx: Tx) -> None:
        await look(tx)
        proxy.mode = mode
        await look(tx)

    return work


def hang_in_commit(proxy: Proxy, mode: Mode) -> Callable[[Tx], object]:
    async def work(tx: Tx) -> None:
        await look(tx)
        proxy.mode = mode

    return work


def hang_in_rollback(proxy: Proxy, mode: Mode) -> Callable[[Tx], object]:
    async def work(tx: Tx) -> None:
        await look(tx)
        proxy.mode = mode
        raise Fault

    return work


def hang_without_a_statement(proxy: Proxy, mode: Mode) -> Callable[[Tx], object]:
    """Time runs out while the server does something else; then the rollback hangs."""

    async def work(tx: Tx) -> None:
        await look(tx)
        proxy.mode = mode
        await asyncio.sleep(30)

    return work


@pytest.mark.parametrize("mode", [FREEZE, BLACK_HOLE], ids=["frozen", "black hole"])
@pytest.mark.parametrize("hang", [hang_in_statement, hang_in_commit, hang_without_a_statement])
def test_a_call_ends_when_its_time_is_over(
    behind: str, proxy: Proxy, hang: Callable[[Proxy, Mode], Callable[[Tx], object]], mode: Mode
) -> None:
    async def work() -> None:
        async with serving({"main": behind}, timeout=TIMEOUT) as realms:
            took = await call(realms.get("main"), hang(proxy, mode))
            assert took.refusal is not None
            assert took.refusal.retry_after
            assert TIMEOUT - 0.1 < took.seconds < TIMEOUT + ANSWER + MARGIN
            again = await call(realms.get("main"))
            assert again.refusal is not None
            assert again.seconds < 0.5, "it is known not to answer"
            assert realms.get("main").counts["turned_away"] == 1
            proxy.mode = PASS
            await until_it_answers(realms.get("main"), 5)

    asyncio.run(work())


async def until_it_answers(realm: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (await call(realm)).refusal is not None:  # type: ignore[arg-type]
        assert time.monotonic() < deadline, "it did not come back"
        await asyncio.sleep(0.05)


def test_a_rollback_that_hangs_ends(behind: str, proxy: Proxy) -> None:
    async def work() -> None:
        async with serving({"main": behind}, timeout=TIMEOUT) as realms:
            begun = time.monotonic()
            with pytest.raises((Fault, Exception)):
                await realms.get("main").transact(hang_in_rollback(proxy, FREEZE))  # type: ignore[arg-type]
            assert time.monotonic() - begun < TIMEOUT + ANSWER + MARGIN

    asyncio.run(work())


def test_a_database_that_never_answered_is_given_up_after_the_wait_for_a_connection(behind: str, proxy: Proxy) -> None:
    proxy.mode = FREEZE

    async def work() -> None:
        async with serving({"main": behind}, timeout=60) as realms:
            took = await call(realms.get("main"))
            assert took.refusal is not None
            assert took.seconds < POOL_TIMEOUT + MARGIN
            assert (await call(realms.get("main"))).seconds < 0.5

    asyncio.run(work())


def test_cancelled_calls_and_the_end_do_not_wait_for_it(behind: str, proxy: Proxy) -> None:
    """As at SIGTERM, when the grace is over."""

    async def work() -> None:
        async with serving({"main": behind}, timeout=60) as realms:
            calls = [
                asyncio.create_task(call(realms.get("main"), hang(proxy, FREEZE)))
                for hang in (hang_in_statement, hang_in_commit, hang_without_a_statement)
            ]
            await asyncio.sleep(0.5)
            for each in calls:
                each.cancel()
            begun = time.monotonic()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - begun < 4
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    asyncio.run(work())


def test_one_that_hangs_leaves_the_others_their_connections(
    behind: str, proxy: Proxy, new_database: Callable[[], str]
) -> None:
    others = {f"other{number}": new_database() for number in range(5)}

    async def work() -> None:
        async with serving({"main": behind} | others, connections=8, timeout=3) as realms:
            await call(realms.get("main"))
            proxy.mode = FREEZE
            hung = [asyncio.create_task(call(realms.get("main"))) for _ in range(50)]
            worst = 0.0
            while not all(each.done() for each in hung):
                took = await asyncio.gather(*(call(realms.get(name)) for name in others))
                assert not [each for each in took if each.refusal]
                worst = max(worst, *(each.seconds for each in took))
                await asyncio.sleep(0.02)
            assert worst < 1.0, worst
            refused = [each.result() for each in hung]
            assert all(each.refusal for each in refused)
            assert max(each.seconds for each in refused) < POOL_TIMEOUT + 3 + ANSWER + MARGIN

    asyncio.run(work())
