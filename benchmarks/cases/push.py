"""Pushes of 1,000 new rows of 300 bytes.

In one call: at least half as many rows a second as PostgreSQL alone stores in one statement, into the same tables with
the same indexes, history included. In parts of 100, as sync_client sends them: at least 60 % of the rate in one call
(the push calls alone; the refresh before each is the case `refresh`). Every run is of new rows; another device of the
user pulls them and finds all of them, in their order, as they were pushed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import alone
import checking
from figures import Figure, Target, percent
from phone import PART, Phone
from samples import Row, rows
from world import Server, World, now

RUNS = 21  # the disk's part in each varies


def measure(world: World) -> Iterable[Figure]:
    count, runs = world.size(1000, 200), world.size(RUNS, 1)
    single: list[float] = []
    parts: list[float] = []
    by_postgres: list[float] = []
    space = alone.Space(world.database())
    with world.server() as server:
        writer, reader = world.run(_devices(server))
        for run in range(-world.size(2, 0), runs):
            figures = (
                world.run(_push(writer, reader, rows(count, f"single {run}", now()), count)),
                space.insert(rows(count, f"alone {run}", now())),
                world.run(_push(writer, reader, rows(count, f"parts {run}", now()), PART)),
            )
            if run >= 0:
                for values, seconds in zip((single, by_postgres, parts), figures, strict=True):
                    values.append(seconds)
    space.close()
    raw = {"seconds": single, "seconds of PostgreSQL alone": by_postgres, "rows/s": [count / s for s in single]}
    yield Figure(
        "push", f"{count:,} rows in one call, of PostgreSQL's rate", " %", percent(by_postgres, single), Target(50), raw
    )
    raw = {"seconds": parts, "rows/s": [count / s for s in parts]}
    yield Figure(
        "push", f"in parts of {PART}, of the single call's rate", " %", percent(single, parts), Target(60), raw
    )


async def _devices(server: Server) -> tuple[Phone, Phone]:
    return await server.phone("ann"), await server.phone("ann", new=False)


async def _push(writer: Phone, reader: Phone, pushed: Sequence[Row], part: int) -> float:
    """The seconds of the push calls."""
    await writer.refresh()
    checking.pulled(await writer.send(writer.pull_request(pushed)), [])
    answers = await writer.push(pushed, part)
    checking.pulled(await reader.sync(), pushed)
    return sum(answer.seconds for answer in answers)
