"""A new device pulls 1,000,000 rows of 300 bytes, gzipped as phones ask for.

The server's memory grows by less than 64 MiB. Meanwhile ten other users sync, 20 times a second together, arriving at
random: the 99th percentile of their syncs is under twice that of when they are alone on the server. All the rows are
there, in their order, as they were stored; other users lose nothing.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterable
from typing import NamedTuple

import uvloop

import checking
import filling
from cases import users
from connection import Answer, Connection
from figures import Figure, Target, p99
from phone import Phone
from world import Server, World

RUNS = 1
OTHERS = 10
RATE = 20.0
"""Syncs of the others, a second."""
SECONDS = 10.0
"""That the others are measured alone, in each run."""


class Run(NamedTuple):
    alone: list[float]
    beside: list[float]
    """Milliseconds of the others' syncs."""
    grown: float
    """MiB."""
    answer: Answer


def measure(world: World) -> Iterable[Figure]:
    count = world.size(1_000_000, 5000)
    with world.server() as server:
        owner = world.run(server.phone("owner"))
        filling.fill(world, server.urls["default"], owner, count)
        others = world.run(users.crowd(server, OTHERS))
        world.run(users.arrive(others, RATE, SECONDS if not world.short else 0.5, -1))
        runs = [
            world.run(_run(server, others, 1.0 if world.short else SECONDS, run)) for run in range(world.size(RUNS, 1))
        ]
        world.run(users.check(server, others))
    for run in runs:
        checking.filled(run.answer, count)
    raw = {"seconds": [run.answer.seconds for run in runs], "bytes": [float(len(run.answer.body)) for run in runs]}
    yield Figure(
        "million",
        f"memory for a first pull of {count:,} rows",
        " MiB",
        [run.grown for run in runs],
        Target(None, 64),
        raw,
    )
    raw = {
        "p99 alone, ms": [p99(run.alone) for run in runs],
        "beside, ms": [p99(run.beside) for run in runs],
        "median alone, ms": [statistics.median(run.alone) for run in runs],
        "median beside, ms": [statistics.median(run.beside) for run in runs],
    }
    values = [p99(run.beside) / p99(run.alone) for run in runs]
    yield Figure("million", "p99 of others beside it / alone", " times", values, Target(None, 2), raw)


async def _run(server: Server, others: list[users.User], seconds: float, number: int) -> Run:
    alone = await users.arrive(others, RATE, seconds, number)
    phone = await server.phone("owner", new=False)
    await phone.refresh()
    before = server.processes.memory()
    server.processes.forget_peak()
    pulling = asyncio.ensure_future(
        asyncio.to_thread(_pull, server, phone)
    )  # so that reading it does not hold up others
    beside = await users.arrive(others, RATE, 600, number, going=lambda begun: begun < 5 or not pulling.done())
    answer = await pulling
    grown = (server.processes.peak_memory() - before) / 2**20
    await phone.push()
    return Run(alone, beside, grown, answer)


def _pull(server: Server, phone: Phone) -> Answer:
    return uvloop.run(Connection(server.port).call(phone.pull_request()))
