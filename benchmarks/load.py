"""The devices, in a process of their own: each function is one measurement, which checks every answer that it times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

import msgspec
import uvloop

from phone import Connection, Phone, WrongAnswer
from processes import Cpu, Processes
from samples import TABLE, Row, edited, rows


class Timed(NamedTuple):
    seconds: float
    cpu: Cpu


class Sizes(NamedTuple):
    """How much of everything."""

    pushed: int
    first_pull: int
    changes: int
    users: int
    rows_per_sync: int
    rounds: int
    """Syncs of each user in one measurement."""
    repeats: int
    """Pulls of the last changes in one measurement, and refreshes of each user."""


@dataclass
class Stopwatch:
    """Adds up what passes while it runs."""

    processes: Processes
    seconds: float = 0.0
    cpu: Cpu = field(default_factory=lambda: Cpu(0.0, 0.0, 0.0))

    @contextmanager
    def running(self) -> Iterator[None]:
        before = self.processes.cpu()
        begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begun
        spent = self.processes.cpu().since(before)
        self.cpu = Cpu(*(total + more for total, more in zip(self.cpu, spent, strict=True)))

    def read(self, times: int) -> Timed:
        """Per one of so many."""
        return Timed(self.seconds / times, Cpu(*(seconds / times for seconds in self.cpu)))


class Load:
    """Users and their devices, made once."""

    def __init__(self, port: int, processes: Processes, sizes: Sizes) -> None:
        self._port = port
        self._processes = processes
        self._sizes = sizes
        self._big: list[Row] = []

    async def prepare(self) -> None:
        """A user who pushes; one with many rows and two devices; many with a device each."""
        self._pusher = await self._phone("pusher")
        self._reader = await self._phone("pusher", new=False)
        self._writer = await self._phone("big")
        self._big = rows(self._sizes.first_pull, "big", _now())
        for start in range(0, len(self._big), 1000):
            await self._writer.sync(self._big[start : start + 1000])
        self._follower = await self._phone("big", new=False)
        check(await self._follower.sync([]), self._big)
        self._crowd = await asyncio.gather(*(self._phone(f"user{number}") for number in range(self._sizes.users)))
        self._kept: list[list[Row]] = [[] for _ in self._crowd]

    async def push(self, run: str, part: int) -> Timed:
        """Push many rows in parts of `part`."""
        watch = Stopwatch(self._processes)
        pushed = rows(self._sizes.pushed, f"push {run}", _now())
        phone = self._pusher
        await phone.refresh()
        await phone.send(phone.pull_request(pushed))
        starts = range(0, len(pushed), part)
        for start in starts:
            await phone.refresh()
            request = phone.push_request(pushed[start : start + part], partial=start != starts[-1])
            with watch.running():
                answer = await phone.send(request)
        phone.take_cursor(answer)
        await phone.refresh()
        await phone.cancel()
        check(await self._reader.sync([]), pushed)
        return watch.read(1)

    async def first_pull(self, _run: str) -> Timed:
        """A new device of the user with many rows pulls."""
        watch = Stopwatch(self._processes)
        phone = await self._phone("big", new=False)
        await phone.refresh()
        request = phone.pull_request()
        with watch.running():
            pulled = await phone.send(request)
        check(pulled, self._big)
        await phone.refresh()
        phone.take_cursor(await phone.send(phone.push_request([], partial=False)))
        await phone.cancel()
        return watch.read(1)

    async def last_changes(self, run: str) -> Timed:
        """A device of the user with many rows pulls the few that another has changed."""
        watch = Stopwatch(self._processes)
        for repeat in range(self._sizes.repeats):
            count = self._sizes.changes
            changed = edited(self._big[:count], f"changes {run} {repeat}", _now())
            await self._writer.sync(changed)
            self._big = self._big[count:] + changed
            await self._follower.refresh()
            request = self._follower.pull_request()
            with watch.running():
                pulled = await self._follower.send(request)
            check(pulled, changed)
            await self._follower.refresh()
            push = self._follower.push_request([], partial=False)
            self._follower.take_cursor(await self._follower.send(push))
            await self._follower.cancel()
        return watch.read(self._sizes.repeats)

    async def syncs(self, run: str) -> Timed:
        """All users sync at once, with some new rows each, and again."""
        watch = Stopwatch(self._processes)
        count = self._sizes.rows_per_sync
        work = [
            [rows(count, f"sync {run} {number} {round_}", _now()) for round_ in range(self._sizes.rounds)]
            for number in range(len(self._crowd))
        ]

        async def live(phone: Phone, syncs: list[list[Row]]) -> None:
            for changes in syncs:
                check(await phone.sync(changes), [])  # nothing of its own comes back (G7)

        with watch.running():
            await asyncio.gather(*map(live, self._crowd, work))
        for kept, syncs in zip(self._kept, work, strict=True):
            kept += [row for changes in syncs for row in changes]
        return watch.read(len(self._crowd) * self._sizes.rounds)

    async def refreshes(self, _run: str) -> Timed:
        """All users refresh their tokens at once, and again."""
        watch = Stopwatch(self._processes)

        async def live(phone: Phone) -> None:
            for _ in range(self._sizes.repeats):
                await phone.refresh()

        with watch.running():
            await asyncio.gather(*map(live, self._crowd))
        return watch.read(len(self._crowd) * self._sizes.repeats)

    async def check_crowd(self) -> None:
        """A new device of each user finds all that the first one has pushed."""
        for phone, kept in zip(self._crowd, self._kept, strict=True):
            checker = await self._phone(phone.email.partition("@")[0], new=False)
            check(await checker.sync([]), kept)

    async def _phone(self, user: str, *, new: bool = True) -> Phone:
        phone = Phone(Connection(self._port), f"{user}@example.com")
        await phone.register(new=new)
        return phone


def check(answer: bytes, wanted: Sequence[Row]) -> None:
    """That a pull's answer is these rows, in this order, as they were pushed."""
    document = msgspec.json.decode(answer, type=_Pulled)
    found = [(row.operation, row.tablename, row.rowguid, row.clientdate, bytes(row.rowData)) for row in document.data]
    if found != [(row.operation, TABLE, row.guid, row.date, row.data.encode()) for row in wanted]:
        raise WrongAnswer(f"of {len(wanted)} rows {len(found)} came, or in another order, or not as they were pushed")


class _PulledRow(msgspec.Struct):
    operation: str
    tablename: str
    rowguid: str
    clientdate: int
    rowData: msgspec.Raw  # noqa: N815 - the wire's name


class _Pulled(msgspec.Struct):
    data: list[_PulledRow]


def _now() -> int:
    return time.time_ns() // 1_000_000


def serve(pipe: Pipe, port: int, processes: Processes, sizes: Sizes) -> None:
    """Make the measurements that come through the pipe, as a method's name and its arguments, until None comes."""
    uvloop.run(_serve(pipe, Load(port, processes, sizes)))


async def _serve(pipe: Pipe, load: Load) -> None:
    while (order := await asyncio.to_thread(pipe.recv)) is not None:
        name, *arguments = order
        try:
            answer: Any = await getattr(load, name)(*arguments)
        except (WrongAnswer, AssertionError, OSError, msgspec.MsgspecError) as exc:
            answer = WrongAnswer(f"{name}: {exc}")
        pipe.send(answer)
