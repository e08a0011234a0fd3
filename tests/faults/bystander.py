"""A user of another realm, whose database is well: whatever happens to the others', no call fails or waits for it."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Self

import httpx

from device import SyncFailed
from faults.crowd import Household, Member, Tally, Witness
from faults.verdict import check_nothing_is_lost, check_nothing_is_there_twice
from faults.world import BYSTANDER, World
from game import rows_of
from twin import canonical
from users import User, look_into
from wire import Answer, Lost, Request

SLOWEST = 3.0
"""Seconds in which 99 of 100 calls are answered, while all else on this machine is killed, restarted and recovered."""
_PAUSE = 0.1


@dataclass(frozen=True)
class Call:
    path: str
    begun: float
    ended: float
    outcome: str
    """The status, or what happened to the connection."""


@dataclass(frozen=True)
class Seen:
    """What a bystander has seen of a run."""

    calls: int
    p99: float
    longest: float

    def __str__(self) -> str:
        return f"bystander: {self.calls} calls, p99 {self.p99:.2f} s, longest {self.longest:.2f} s"


class Bystander:
    """Syncs as long as the block lasts, straight with the server: there is no broken network in between."""

    def __init__(self, world: World, seed: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=world.process.url, timeout=60, limits=limits, trust_env=False)
        self._world, self._random = world, random.Random(seed)
        self._calls: list[Call] = []
        self._syncs: list[list[Call]] = []
        self._connection = look_into(world.realms[BYSTANDER])
        user = User(self._send, BYSTANDER, self._connection)
        self._device = user.join(Witness(self._send, BYSTANDER, part=3))
        member = Member(self._device, seed, Tally(), BYSTANDER)
        self._household = Household(user, [member])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name=BYSTANDER, daemon=True)
        self._calls.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._connection.close()
        self._http.close()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(120)

    def _live(self) -> None:
        number = 0
        while not self._stopping.wait(self._random.uniform(0, _PAUSE)):
            number += 1
            key = ("notes", f"{number % 20}")
            save = self._device.save if key in self._device.state.rows else self._device.insert
            save(*key, {"title": f"{number}"})
            self._calls = []
            self._syncs.append(self._calls)
            try:
                self._device.sync()
            except SyncFailed as failure:
                now = time.monotonic()
                self._calls.append(Call("sync", now, now, f"{type(failure).__name__}: {failure}"))

    def _send(self, request: Request) -> Answer:
        begun = time.monotonic()
        outcome = "lost"
        try:
            answer = self._http.post(request.path, content=request.body, headers=request.headers())
            outcome = str(answer.status_code)
        except httpx.TransportError as fault:
            outcome = type(fault).__name__
            raise Lost from fault
        finally:
            self._calls.append(Call(request.path, begun, time.monotonic(), outcome))
        return Answer(answer.status_code, answer.content)

    def check(self) -> Seen:
        """Raises AssertionError unless every call was answered as on any other day. It has stopped; all is well again."""
        calls = self._judged()
        assert calls, "the bystander has not synced"
        failed = [call for call in calls if call.outcome != "200"]
        assert not failed, f"{len(failed)} calls of the bystander failed: {failed[:3]}"
        waits = sorted(call.ended - call.begun for call in calls)
        seen = Seen(len(waits), waits[int(len(waits) * 0.99)], waits[-1])
        assert seen.p99 <= SLOWEST, seen
        self._device.sync()
        check_nothing_is_lost(self._household)
        check_nothing_is_there_twice(self._household)
        rows = self._household.user.rows()
        assert rows_of(self._device) == {key: canonical(row["row_data"]) for key, row in rows.items()}
        return seen

    def _judged(self) -> list[Call]:
        """The calls of syncs that met no outage of the server, nor came right after one that did: it may be in the way."""
        after_outage = False
        judged: list[Call] = []
        for sync in self._syncs:
            met = any(outage.covers(call.begun, call.ended + 0.001) for call in sync for outage in self._world.outages)
            if not met and not after_outage:
                judged += sync
            after_outage = met
        return judged
