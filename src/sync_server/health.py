"""Whether the server is there, and whether it can do its work."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Literal, NamedTuple, get_args

import msgspec

from sync_server.errors import Unavailable
from sync_server.pools import Pool
from sync_server.realms import Realm, Realms

_FRESH = 1.0
"""Seconds for which an answer is good enough, so that probes cost little, however many there are."""
_AT_REST = 60.0
"""The same for a database that nobody but us has used since."""
_WOKEN = 4
"""Databases at rest that are asked at a time: each opens a connection that is kept for a while."""
_PATIENCE = 2.0
"""Seconds that a database has to answer. One that takes longer is not waited for, and counts as down until it answers."""
State = Literal["up", "down", "resting", "closed"]


class _Found(NamedTuple):
    when: float
    answered: bool
    ms: float
    calls: int
    """How many calls its database had had by then."""


class RealmHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """`resting`: nobody uses it, so it was not asked; `closed`: its tables are not up to date, or cannot be brought so."""

    status: State
    ms: float | None = None
    """What its database took to answer."""


class Health(msgspec.Struct, frozen=True):
    """`degraded`: some realms are not served. The server can do its work as long as one is: a balancer that took it out for
    one database that is down would take it away from all other realms.
    """

    status: Literal["up", "degraded", "down"]
    realms: dict[State, int]
    of_realm: dict[str, RealmHealth]


class Checks:
    """Asks databases whether they answer: those at work and those that are down every second at most, the others rarely."""

    def __init__(self, realms: Realms) -> None:
        self._realms = realms
        self._found: dict[Pool, _Found] = {}
        self._looks: dict[Pool, asyncio.Task[None]] = {}

    async def health(self) -> Health:
        """What is known a moment later. Ends within _PATIENCE, whatever the databases do."""
        pools = {realm.pool: realm for realm in self._realms}
        self._found = {pool: found for pool, found in self._found.items() if pool in pools}
        for realm in self._due(pools):
            self._looks[realm.pool] = asyncio.create_task(self._look(realm))
        if self._looks:
            await asyncio.wait(list(self._looks.values()), timeout=_PATIENCE)
        served = {realm.name: self._of(realm.pool) for realm in self._realms}
        closed = RealmHealth("closed")
        return _summary({name: served.get(name, closed) for name in self._realms.names})

    def _due(self, pools: dict[Pool, Realm]) -> list[Realm]:
        """Who is to be asked now."""
        now = time.monotonic()
        due: list[Realm] = []
        resting: list[tuple[float, Realm]] = []
        for pool, realm in pools.items():
            found = self._found.get(pool)
            age = now - found.when if found is not None else math.inf
            at_rest = pool.counts["calls"] == found.calls if found is not None else not pool.open
            if pool in self._looks or age < _FRESH:
                continue
            if not at_rest or (found is not None and not found.answered):
                due.append(realm)
            elif age > _AT_REST:
                resting.append((age, realm))
        resting.sort(key=lambda one: one[0], reverse=True)
        return [*due, *(realm for _, realm in resting[:_WOKEN])]

    async def _look(self, realm: Realm) -> None:
        begun = time.monotonic()
        try:
            await realm.read(lambda tx: tx.value("answers", {}))
            answered = True
        except Unavailable:
            answered = False
        finally:
            del self._looks[realm.pool]
        now = time.monotonic()
        ms = round((now - begun) * 1000, 1)
        self._found[realm.pool] = _Found(now, answered, ms, realm.pool.counts["calls"])

    def _of(self, pool: Pool) -> RealmHealth:
        found = self._found.get(pool)
        if pool in self._looks:
            return RealmHealth("down")
        if found is None:
            return RealmHealth("resting")
        return RealmHealth("up" if found.answered else "down", found.ms)


def _summary(of_realm: dict[str, RealmHealth]) -> Health:
    states = [found.status for found in of_realm.values()]
    counts = {state: states.count(state) for state in get_args(State)}
    able = counts["up"] + counts["resting"]
    if able == len(states):
        return Health("up", counts, of_realm)
    return Health("degraded" if able else "down", counts, of_realm)
