"""The first pull of 10,000 rows of 300 bytes.

Uncompressed: at least half as many rows a second as psycopg reads from PostgreSQL as text, the first byte of the
answer's body within 20 ms. Gzipped, as phones ask for: at least half the uncompressed rate (inflating is the phone's
work and not counted). Every run is a new device's; all rows are there, in their order, as they were pushed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import alone
import checking
from connection import Answer
from figures import Figure, Target, percent
from samples import Row, rows
from world import Server, World, now

RUNS = 11
_AT_ONCE = 1000


def measure(world: World) -> Iterable[Figure]:
    runs = world.size(RUNS, 1)
    stored = rows(world.size(10_000, 1500), "stored", now())
    plain: list[Answer] = []
    zipped: list[Answer] = []
    by_postgres: list[float] = []
    space = alone.Space(world.database())
    for start in range(0, len(stored), _AT_ONCE):
        space.insert(stored[start : start + _AT_ONCE])
    with world.server() as server:
        world.run(_store(server, stored))
        for run in range(-world.size(1, 0), runs):
            read = space.read(stored)
            answers = [world.run(_first_pull(server, stored, gzip=gzip)) for gzip in (False, True)]
            if run >= 0:
                by_postgres.append(read)
                plain.append(answers[0])
                zipped.append(answers[1])
    space.close()
    yield from _figures(len(stored), plain, zipped, by_postgres)


def _figures(
    count: int, plain: Sequence[Answer], zipped: Sequence[Answer], by_postgres: Sequence[float]
) -> Iterable[Figure]:
    seconds, gzipped = [answer.seconds for answer in plain], [answer.seconds for answer in zipped]
    raw = {"seconds": seconds, "seconds of PostgreSQL alone": by_postgres, "rows/s": [count / s for s in seconds]}
    what = f"{count:,} rows uncompressed, of psycopg's rate"
    yield Figure("pull", what, " %", percent(by_postgres, seconds), Target(50), raw)
    first = [1000 * answer.first_byte for answer in plain]
    yield Figure("pull", "first byte of the answer's body", " ms", first, Target(at_most=20))
    raw = {"seconds": gzipped, "rows/s": [count / s for s in gzipped], "bytes": [len(answer.body) for answer in zipped]}
    yield Figure("pull", "gzipped, of the uncompressed rate", " %", percent(seconds, gzipped), Target(50), raw)


async def _store(server: Server, stored: Sequence[Row]) -> None:
    writer = await server.phone("ann")
    for start in range(0, len(stored), _AT_ONCE):
        await writer.refresh()
        await writer.send(writer.pull_request(stored[start : start + _AT_ONCE]))
        await writer.push(stored[start : start + _AT_ONCE], _AT_ONCE)


async def _first_pull(server: Server, stored: Sequence[Row], *, gzip: bool) -> Answer:
    phone = await server.phone("ann", new=False)
    await phone.refresh()
    answer = await phone.send(phone.pull_request(gzip=gzip))
    checking.pulled(answer, stored)
    await phone.push()
    phone.hang_up()
    return answer
