"""From the start of the process to the end of the first sync, on a database that is there already: under 2 s.

Once with a PostgreSQL that runs, and once with the embedded one, which the server starts itself. The device that syncs
registered with an earlier process, and gets what another one pushed then. The files are in the system's cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

import checking
from connection import Connection
from figures import Figure, Target
from phone import Phone
from samples import Row, rows
from world import World, now, started

RUNS = 5


def measure(world: World) -> Iterable[Figure]:
    kinds = {"PostgreSQL is running": world.database(), "with the embedded PostgreSQL": "embedded"}
    for what, url in list(kinds.items())[: world.size(2, 1)]:
        home = world.directory / what.rpartition(" ")[2]
        values = _measure(world, home, {"default": url})
        yield Figure("cold", f"start to the end of the first sync, {what}", " s", values, Target(at_most=2))


def _measure(world: World, home: Path, realms: dict[str, str]) -> list[float]:
    runs = world.size(RUNS, 1)
    pushed = rows(10, "cold", now())
    with started(home, realms) as (port, _):
        phones = world.run(_devices(port, pushed, runs))
    values = []
    for phone in phones:
        begun = time.perf_counter()
        with started(home, realms) as (port, _):
            phone.move(Connection(port))
            answer = world.run(phone.sync())
            values.append(time.perf_counter() - begun)
        checking.pulled(answer, pushed)
    return values


async def _devices(port: int, pushed: list[Row], count: int) -> list[Phone]:
    """Devices of a user who has these rows, that have not synced yet."""
    phones = [Phone(Connection(port), "ann@example.com") for _ in range(count + 1)]
    for phone in phones:
        await phone.register(new=phone is phones[0])
    await phones[0].sync(pushed)
    for phone in phones:
        phone.hang_up()
    await asyncio.sleep(0)
    return phones[1:]
