"""What is much at once: a push of 20,000 rows of 300 bytes in one call, and one row of 20 MB.

Both work with the server's default limits, and the server's memory grows by no more than five times the body, inflated.
Another device pulls the same rows as they were pushed; for the row of 20 MB that is measured as well. Each on a server
that has just started.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Sequence

import checking
from connection import Answer
from figures import Figure, Target
from phone import Phone
from samples import Row, rows
from world import Server, World, now

MOST = Target(at_most=5)
"""Times the body."""


def measure(world: World) -> Iterable[Figure]:
    many = rows(world.size(20_000, 1500), "many", now())
    yield from _measure(world, f"push of {len(many):,} rows", many)
    megabytes = world.size(20, 1)
    letters = random.Random(1).choices(string.ascii_letters, k=1000 * 1000)
    big = [Row("big", now(), '{"id":"big","blob":"' + "".join(letters) * megabytes + '"}')]
    yield from _measure(world, f"push of a row of {megabytes} MB", big, f"pull of the row of {megabytes} MB")


def _measure(world: World, what: str, pushed: Sequence[Row], also: str | None = None) -> Iterable[Figure]:
    body = sum(len(row.data) + 130 for row in pushed)
    with world.server() as server:
        push, pull, grown = world.run(_run(server, pushed))
    raw = {"seconds": [push.seconds], "MB of the body": [body / 1e6], "MiB grown": [grown[0] / 2**20]}
    yield Figure("bulk", f"{what}: memory / body", " times", [grown[0] / body], MOST, raw)
    if also is not None:
        raw = {"seconds": [pull.seconds], "MiB grown": [grown[1] / 2**20]}
        yield Figure("bulk", f"{also}: memory / body", " times", [grown[1] / body], MOST, raw)


async def _run(server: Server, pushed: Sequence[Row]) -> tuple[Answer, Answer, tuple[int, int]]:
    writer, reader = await server.phone("ann"), await server.phone("ann", new=False)
    for phone in (writer, reader):
        await phone.sync()
    await writer.refresh()
    checking.pulled(await writer.send(writer.pull_request(pushed)), [])
    await writer.refresh()
    request = writer.push_request(pushed, partial=False)
    push, pushing = await _watched(server, writer, request)
    writer.take_cursor(push)
    await reader.refresh()
    pull, pulling = await _watched(server, reader, reader.pull_request())
    checking.pulled(pull, pushed)
    return push, pull, (pushing, pulling)


async def _watched(server: Server, phone: Phone, request: bytes) -> tuple[Answer, int]:
    """The answer, and by how many bytes the server's memory grew meanwhile."""
    before = server.processes.memory()
    server.processes.forget_peak()
    answer = await phone.send(request)
    return answer, server.processes.peak_memory() - before
