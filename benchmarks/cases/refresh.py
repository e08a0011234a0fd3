"""Refreshes of the access token: at least 2,000 for each second of processor time that the server takes.

100 users refresh at once, again and again; PostgreSQL's time is shown, and not counted. After each run every user can
sync, with the tokens of the last refresh.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import checking
from figures import Figure, Target
from phone import Phone
from processes import Cpu
from world import Server, World

RUNS = 5


def measure(world: World) -> Iterable[Figure]:
    count, times, runs = world.size(100, 20), world.size(20, 3), world.size(RUNS, 1)
    per_second: list[float] = []
    spent: list[Cpu] = []
    with world.server() as server:
        phones = world.run(_crowd(server, count))
        for run in range(-world.size(1, 0), runs):
            seconds, cpu = world.run(_refresh(server, phones, times))
            if run >= 0:
                per_second.append(count * times / seconds)
                spent.append(cpu)
        world.run(_sync(phones))
    done = count * times
    raw = {
        "refreshes/s": per_second,
        "server ms each": [1000 * cpu.server / done for cpu in spent],
        "PostgreSQL ms each": [1000 * cpu.postgres / done for cpu in spent],
    }
    values = [done / cpu.server if cpu.server else float("nan") for cpu in spent]
    yield Figure("refresh", "per second of the server's processor time", "", values, Target(2000), raw)


async def _crowd(server: Server, count: int) -> list[Phone]:
    return list(await asyncio.gather(*(server.phone(f"user{number}") for number in range(count))))


async def _refresh(server: Server, phones: list[Phone], times: int) -> tuple[float, Cpu]:
    async def live(phone: Phone) -> None:
        for _ in range(times):
            await phone.refresh()

    before, begun = server.cpu(), time.perf_counter()
    await asyncio.gather(*map(live, phones))
    return time.perf_counter() - begun, server.cpu().since(before)


async def _sync(phones: list[Phone]) -> None:
    for answer in await asyncio.gather(*(phone.sync() for phone in phones)):
        checking.pulled(answer, [])
