"""The pull of the last 10 changes, beside a request that only authenticates (cancelSync, with no sync to cancel).

The median takes at most 1.5 times as long. It is the same (within 10 %) for users with 1 thousand and 1 million rows,
of 1 and 100 versions each. Each has a database of its own, filled by SQL: of the thousand rows all versions were really
written one over the other; of the million 10,000 rows have the history of 100 versions, another million lines. The four
users take turns. Every pull brings just the 10 rows that another device has edited before, as it pushed them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import checking
import filling
from figures import Figure, Target
from phone import Phone
from samples import edited
from world import Server, World, now

RUNS = 9
TURNS = 20
"""Pulls of each user in one run."""
CHANGES = 10


class Space(NamedTuple):
    rows: int
    versions: int = 1
    with_history: int = 0
    """Rows whose 99 earlier versions are in the history only."""


SPACES = {
    "thousand": Space(1000),
    "thousand-100": Space(1000, versions=100),
    "million": Space(1_000_000),
    "million-100": Space(1_000_000, with_history=10_000),
}
"""By realm."""
SMALL = {"thousand": Space(100), "thousand-100": Space(100, versions=3, with_history=10)}


@dataclass
class User:
    """A user with two devices in a realm of their own; what their calls took, in ms."""

    realm: str
    rows: int
    writer: Phone
    follower: Phone
    pulls: list[float] = field(default_factory=list)
    authentications: list[float] = field(default_factory=list)
    refreshes: list[float] = field(default_factory=list)
    pushes: list[float] = field(default_factory=list)

    async def take_turn(self, turn: int, *, counted: bool) -> None:
        numbers = range(turn * CHANGES, (turn + 1) * CHANGES)
        changed = edited([filling.row(number % self.rows) for number in numbers], f"{turn}", now())
        await self.writer.refresh()
        checking.pulled(await self.writer.send(self.writer.pull_request(changed)), [])
        (pushed,) = await self.writer.push(changed)
        refreshed = await self.follower.refresh()
        pulled = await self.follower.send(self.follower.pull_request())
        checking.pulled(pulled, changed)
        await self.follower.push()
        authenticated = await self.follower.cancel()
        if counted:
            self.pulls.append(1000 * pulled.seconds)
            self.authentications.append(1000 * authenticated.seconds)
            self.refreshes.append(1000 * refreshed.seconds)
            self.pushes.append(1000 * pushed.seconds)


def measure(world: World) -> Iterable[Figure]:
    runs, turns, unheeded = world.size(RUNS, 1), world.size(TURNS, 2), world.size(5, 1)
    spaces = SMALL if world.short else SPACES
    return _figures(take_turns(world, spaces, unheeded, runs * turns), runs)


def take_turns(world: World, spaces: Mapping[str, Space], unheeded: int, turns: int) -> list[User]:
    """Users with these spaces, by realm, who have taken turns; the first ones count for nothing."""
    with world.server({realm: world.database() for realm in spaces}) as server:
        users = [user(world, server, realm, space) for realm, space in spaces.items()]
        for turn in range(unheeded + turns):
            for each in users:
                world.run(each.take_turn(turn, counted=turn >= unheeded))
    return users


def user(world: World, server: Server, realm: str, space: Space) -> User:
    """A user who has these rows, and two devices that know them all."""
    writer = world.run(server.phone("ann", realm=realm))
    follower = world.run(server.phone("ann", realm=realm, new=False))
    for phone in (writer, follower):
        world.run(phone.sync())
    writer.cursor = follower.cursor = filling.fill(world, server.urls[realm], writer, *space)
    return User(realm, space.rows, writer, follower)


def _figures(users: Sequence[User], runs: int) -> Iterable[Figure]:
    pulls = [medians(user.pulls, runs) for user in users]
    for user, pulled in zip(users, pulls, strict=True):
        alone = medians(user.authentications, runs)
        raw = {"pull, ms": pulled, "only authenticates, ms": alone, "refresh, ms": medians(user.refreshes, runs)}
        yield Figure(
            "changes",
            f"{user.realm}: pull / only authenticates",
            " times",
            ratios(pulled, alone),
            Target(None, 1.5),
            raw,
        )
    for user, pulled in list(zip(users, pulls, strict=True))[1:]:
        what = f"pull: {user.realm} / {users[0].realm}"
        yield Figure("changes", what, " times", ratios(pulled, pulls[0]), Target(0.9, 1.1))


def ratios(parts: Sequence[float], wholes: Sequence[float]) -> list[float]:
    return [part / whole for part, whole in zip(parts, wholes, strict=True)]


def medians(values: Sequence[float], runs: int) -> list[float]:
    """Of each run: as many values one after the other."""
    each = len(values) // runs
    return [statistics.median(values[run * each : (run + 1) * each]) for run in range(runs)]
