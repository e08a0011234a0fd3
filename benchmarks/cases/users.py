"""100 users who sync 10 new rows each, with all that sync_client does around it.

At once and again (the saturated rate): at least 276 syncs for each second of processor time of server and PostgreSQL
together, four times what the Node server did. Then at 80 % of that rate, arriving at random however long the ones
before take: 99 of 100 are over within 300 ms, counted from when they were to begin. No call fails. Nothing of a
device's own comes back to it, and in the end a new device of each user finds all rows.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import checking
from connection import Refused
from figures import Figure, Target, p99
from phone import Phone
from processes import Cpu
from samples import Row, rows
from world import Server, World, now

RUNS = 5
OPEN_RUNS = 5
OPEN_SECONDS = 8.0
SHARE = 0.8
ROWS = 10
_AT_ONCE = 50


@dataclass
class User:
    """A user with a device, and what it has pushed."""

    email: str
    phone: Phone
    pushed: list[Row] = field(default_factory=list)
    errors: int = 0

    async def sync(self) -> None:
        """Push new rows; the errors are counted."""
        changes = rows(ROWS, f"{self.email} {len(self.pushed)}", now())
        try:
            checking.pulled(await self.phone.sync(changes), [])
            self.pushed += changes
        except Refused as refusal:
            print(f"  {refusal}")
            self.errors += 1


def measure(world: World) -> Iterable[Figure]:
    count, rounds, runs = world.size(100, 20), world.size(3, 1), world.size(RUNS, 1)
    with world.server() as server:
        users = world.run(crowd(server, count))
        done = [world.run(saturate(server, users, rounds)) for _ in range(runs + 1)][-runs:]
        rate = statistics.median(rate for rate, _ in done)
        seconds = OPEN_SECONDS if not world.short else 1.0
        waits = [world.run(arrive(users, SHARE * rate, seconds, run)) for run in range(world.size(OPEN_RUNS, 1))]
        world.run(check(server, users))
    yield _saturated(done, count * rounds)
    raw = {"median ms": [statistics.median(taken) for taken in waits], "syncs": [float(len(taken)) for taken in waits]}
    what = f"p99 at {100 * SHARE:.0f} % of the saturated rate"
    yield Figure("users", what, " ms", [p99(taken) for taken in waits], Target(at_most=300), raw)
    yield Figure("users", "calls that failed", "", [sum(user.errors for user in users)], Target(at_most=0))


def _saturated(done: list[tuple[float, Cpu]], syncs: int) -> Figure:
    raw = {
        "syncs/s": [rate for rate, _ in done],
        "server ms each": [1000 * cpu.server / syncs for _, cpu in done],
        "PostgreSQL ms each": [1000 * cpu.postgres / syncs for _, cpu in done],
        "devices ms each": [1000 * cpu.load / syncs for _, cpu in done],
    }
    values = [syncs / spent if (spent := cpu.server + cpu.postgres) else float("nan") for _, cpu in done]
    return Figure("users", "syncs per second of processor time", "", values, Target(276), raw)


async def crowd(server: Server, count: int) -> list[User]:
    names = [f"user{number}" for number in range(count)]
    phones: list[Phone] = []
    for start in range(0, count, _AT_ONCE):  # the server hashes only so many passwords at a time
        phones += await asyncio.gather(*map(server.phone, names[start : start + _AT_ONCE]))
    return [User(name, phone) for name, phone in zip(names, phones, strict=True)]


async def saturate(server: Server, users: list[User], rounds: int) -> tuple[float, Cpu]:
    """All users sync at once, again and again; syncs a second, and what they cost."""

    async def live(user: User) -> None:
        for _ in range(rounds):
            await user.sync()

    before, begun = server.cpu(), time.perf_counter()
    await asyncio.gather(*map(live, users))
    return len(users) * rounds / (time.perf_counter() - begun), server.cpu().since(before)


async def arrive(
    users: list[User], rate: float, seconds: float, seed: int, going: Callable[[int], bool] = lambda _: True
) -> list[float]:
    """Syncs begin at random, `rate` a second, each of a user who is at rest; the milliseconds until they are over.

    For so many seconds, or until `going` says no to the number of those that have begun.
    """
    resting: asyncio.Queue[User] = asyncio.Queue()
    for user in users:
        resting.put_nowait(user)
    taken: list[float] = []

    async def sync(due: float) -> None:
        user = await resting.get()
        await user.sync()
        taken.append(1000 * (time.perf_counter() - due))
        resting.put_nowait(user)

    numbers = random.Random(seed)
    begun = due = time.perf_counter()
    tasks: list[asyncio.Task[None]] = []
    while (due := due + numbers.expovariate(rate)) < begun + seconds and going(len(tasks)):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(sync(due)))
    await asyncio.gather(*tasks)
    return taken


async def check(server: Server, users: list[User]) -> None:
    """Raises WrongAnswer when a new device of a user does not find what was pushed."""
    for user in users:
        phone = await server.phone(user.email, new=False)
        checking.pulled(await phone.sync(), user.pushed)
        phone.hang_up()
