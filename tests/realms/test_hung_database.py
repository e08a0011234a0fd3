"""A database that accepts connections and then says nothing: no call waits beyond its limit, no other realm notices."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from proxies import BLACK_HOLE, FREEZE, PASS, REFUSE, Mode, Proxy, delay
from realms.conftest import call, look, serving
from server.operating import free_port
from sync_server import breaker, connections, pools
from sync_server.connections import ANSWER
from sync_server.database import Tx
from sync_server.errors import Unavailable

TIMEOUT = 1.0
MARGIN = 10.0
"""Seconds that a busy machine may take more; what waits without this limit waits for half a minute at least."""


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
    behind: str,
    proxy: Proxy,
    hang: Callable[[Proxy, Mode], Callable[[Tx], object]],
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaker, "_FIRST", 60.0)  # so that nothing is tried before the call that is to be turned away

    async def work() -> None:
        async with serving({"main": behind}, timeout=TIMEOUT) as realms:
            took = await call(realms.get("main"), hang(proxy, mode))
            assert took.refusal is not None
            assert took.refusal.retry_after
            assert TIMEOUT - 0.1 < took.seconds < TIMEOUT + ANSWER + MARGIN
            again = await call(realms.get("main"))
            assert again.refusal is not None, "it is known not to answer"
            assert realms.get("main").counts["turned_away"] == 1
            proxy.mode = PASS
            realms.get("main").pool._breaker._next = 0.0  # noqa: SLF001 - the time has come
            await until_it_answers(realms.get("main"))

    asyncio.run(work())


async def until_it_answers(realm: object) -> None:
    deadline = time.monotonic() + 60
    while (await call(realm)).refusal is not None:  # type: ignore[arg-type]
        assert time.monotonic() < deadline, "it did not come back"
        await asyncio.sleep(0.05)


def test_a_rollback_that_hangs_ends(behind: str, proxy: Proxy) -> None:
    async def work() -> None:
        async with serving({"main": behind}, timeout=TIMEOUT) as realms:
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await realms.get("main").transact(hang_in_rollback(proxy, FREEZE))  # type: ignore[arg-type]
            assert time.monotonic() - begun < TIMEOUT + ANSWER + MARGIN

    asyncio.run(work())


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port at which new connections get no answer at all, not even a refusal."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listening, ExitStack() as waiting:
        port = listening.getsockname()[1]
        for _ in range(4):
            other = waiting.enter_context(closing(socket.socket()))
            other.settimeout(0)
            other.connect_ex(("127.0.0.1", port))
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", port), 0.1)
        yield port


def test_however_a_database_cannot_be_reached_its_calls_end_and_the_next_ones_end_at_once(
    behind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "POOL_TIMEOUT", 2.5)
    monkeypatch.setattr(breaker, "_FIRST", 60.0)  # so that nothing is tried meanwhile
    monkeypatch.setattr(breaker, "_LONGEST", 60.0)
    proxy.mode = FREEZE
    with Proxy(("127.0.0.1", proxy.port)) as refusing, full_backlog() as port:
        refusing.mode = REFUSE
        urls = {
            "silent": behind,
            "silent to TLS": behind.replace("sslmode=disable", "sslmode=require"),
            "refuses": behind.replace(str(proxy.port), str(refusing.port)),
            "drops packets": behind.replace(str(proxy.port), str(port)),
            "port is closed": behind.replace(str(proxy.port), str(free_port())),
        }

        async def work() -> None:
            async with serving(urls, timeout=60) as realms:
                for took in await asyncio.gather(*map(call, realms)):
                    assert took.refusal is not None
                    assert 2.4 < took.seconds < 2.5 + MARGIN
                for took in await asyncio.gather(*map(call, realms)):
                    assert took.refusal is not None
                    assert took.seconds < 2.4
                assert [realm.counts["turned_away"] for realm in realms] == [1] * len(urls)

        asyncio.run(work())


def holding(done: asyncio.Event) -> Callable[[Tx], object]:
    async def work(tx: Tx) -> None:
        await look(tx)
        await done.wait()

    return work


def test_calls_that_take_long_do_not_make_it_seem_dead(
    behind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are made one after the other, and some fail, so only some of the calls get one in time."""
    monkeypatch.setattr(pools, "POOL_TIMEOUT", 2.5)
    made = itertools.count(1)
    proxy.fate = lambda: delay(0.1) if next(made) % 3 else REFUSE

    async def work() -> None:
        done = asyncio.Event()
        async with serving({"busy": behind, "other": behind}, connections=16, timeout=30) as realms:
            calls = [asyncio.create_task(call(realms.get("busy"), holding(done))) for _ in range(16)]
            short, _ = await asyncio.wait(calls, return_when="FIRST_COMPLETED")
            assert short.pop().result().refusal is not None, "there was a connection for each: this tests nothing"
            assert (await call(realms.get("other"))).refusal is None
            done.set()
            refused = [took for took in await asyncio.gather(*calls) if took.refusal]
            assert 0 < len(refused) < len(calls)
            assert realms.get("other").counts["turned_away"] == 0

    asyncio.run(work())


@pytest.mark.long
def test_a_database_that_makes_no_more_connections_is_served_by_those_that_there_are(
    behind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "POOL_TIMEOUT", 2.5)
    made = itertools.count(1)
    proxy.fate = lambda: PASS if next(made) == 1 else FREEZE

    async def takes_long(tx: Tx) -> None:
        await look(tx)
        await asyncio.sleep(1.0)

    async def work() -> None:
        async with serving({"busy": behind, "other": behind}, timeout=30) as realms:
            await call(realms.get("other"))
            calls = [asyncio.create_task(call(realms.get("busy"), takes_long)) for _ in range(5)]
            took = await asyncio.gather(*calls)
            assert any(each.refusal for each in took), "all began in time: this tests nothing"
            assert (await call(realms.get("other"))).refusal is None
            assert realms.get("other").counts["turned_away"] == 0

    asyncio.run(work())


def test_one_connection_that_is_dead_does_not_make_it_seem_dead(
    behind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those that a firewall has forgotten."""
    for module in (pools, connections):
        monkeypatch.setattr(module, "ANSWER", 1.0)
    held = asyncio.Event()

    async def work(tx: Tx) -> None:
        await look(tx)
        proxy.hold()
        held.set()
        await look(tx)

    async def calls() -> None:
        async with serving({"main": behind}, timeout=1.5) as realms:
            dead = asyncio.create_task(call(realms.get("main"), work))
            await held.wait()
            while not dead.done():
                assert (await call(realms.get("main"))).refusal is None
                await asyncio.sleep(0.02)
            assert dead.result().refusal is not None
            assert (await call(realms.get("main"))).refusal is None

    asyncio.run(calls())


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
        assert time.monotonic() - begun < 30
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
            assert worst < 2.5, "as long as a call may take"
            refused = [each.result() for each in hung]
            assert all(each.refusal for each in refused)
            assert max(each.seconds for each in refused) < pools.POOL_TIMEOUT + 3 + ANSWER + MARGIN

    asyncio.run(work())
