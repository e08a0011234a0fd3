"""How the cost grows: one function for each curve, which hands back its lines."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import checking
from cases import changes, idle, users
from cases.changes import Space
from phone import Phone
from samples import rows
from world import Server, World, now

Points = dict[float, Sequence[float]]
"""What was measured at each x, several times."""


class Curve(NamedTuple):
    name: str
    """Of its file."""
    title: str
    x: str
    y: str
    lines: Mapping[str, Points]


def rows_in_space(world: World) -> Iterable[Curve]:
    counts = world.sizes([100, 1000, 10_000, 100_000, 1_000_000], [10, 100])
    yield _turns(world, {count: Space(count) for count in counts}, "rows", "Rows in the space", "rows")


def versions_per_row(world: World) -> Iterable[Curve]:
    counts = world.sizes([1, 3, 10, 30, 100], [1, 2])
    spaces = {count: Space(world.size(1000, 20), versions=count) for count in counts}
    yield _turns(world, spaces, "versions", "Versions per row, of 1,000 rows", "versions written one over the other")


def _turns(world: World, spaces: Mapping[int, Space], name: str, title: str, x: str) -> Curve:
    done = changes.take_turns(world, {f"r{count}": space for count, space in spaces.items()}, 3, world.size(25, 2))
    lines: dict[str, Points] = {"push of 10 changes": {}, "pull of 10 changes": {}, "only authenticates": {}}
    for count, user in zip(spaces, done, strict=True):
        for points, values in zip(lines.values(), (user.pushes, user.pulls, user.authentications), strict=True):
            points[count] = _quartiles(values)
    return Curve(name, title, x, "ms of one call", lines)


def rows_per_push(world: World) -> Iterable[Curve]:
    points: Points = {}
    with world.server() as server:
        writer = world.run(server.phone("ann"))
        for count in world.sizes([1, 10, 100, 1000, 10_000], [1, 10]):
            points[count] = [
                1000 * world.run(_push(writer, count, f"{count} {run}")) / count for run in range(world.size(9, 2))
            ]
    lines: dict[str, Points] = {"per row": {x: _quartiles(values) for x, values in points.items()}}
    yield Curve("push", "Rows in one push", "rows", "ms of the push for each row", lines)


async def _push(writer: Phone, count: int, seed: str) -> float:
    pushed = rows(count, seed, now())
    await writer.refresh()
    checking.pulled(await writer.send(writer.pull_request(pushed)), [])
    (answer,) = await writer.push(pushed, count)
    return answer.seconds


def number_of_users(world: World) -> Iterable[Curve]:
    costs: dict[str, Points] = {}
    rates: dict[str, Points] = {}
    for workers in (1, 2):
        name = f"{workers} worker{'s' if workers > 1 else ''}"
        costs[name], rates[name] = {}, {}
        with world.server(workers=workers) as server:
            for count in world.sizes([1, 10, 30, 100, 300], [1, 3]):
                crowd = world.run(users.crowd(server._replace(prefix=f"of{count}-"), count))
                cost, rate = _storm(world, server, crowd, world.size(600, 6))
                costs[name][count], rates[name][count] = cost, rate
                world.run(users.check(server._replace(prefix=f"of{count}-"), crowd[:5]))
    title = "Users who sync at the same time, 10 rows each"
    yield Curve("users", title, "users", "ms of processor time of a sync", costs)
    yield Curve("rate", title, "users", "syncs a second", rates)


def number_of_realms(world: World) -> Iterable[Curve]:
    counts = world.sizes([1, 10, 30, 100, 300], [1, 3])
    urls = list(idle.clones(world, world.database(), counts[-1]))
    memory: Points = {}
    costs: Points = {}
    for count in counts:
        with world.server({f"realm{number}": urls[number] for number in range(count)}) as server:
            crowd = world.run(_spread(server, count, world.size(300, 6), f"of{count}-"))
            costs[count], _ = _storm(world, server, crowd, len(crowd))
            memory[count] = [server.processes.biggest() / 2**20]
    title = "Realms, each with a database of its own, 300 users together"
    yield Curve("realms", title, "realms", "ms of processor time of a sync", {"server and PostgreSQL": costs})
    yield Curve("memory", title, "realms", "MiB of the server's process", {"memory": memory})


async def _spread(server: Server, realms: int, count: int, prefix: str) -> list[users.User]:
    """So many users, in turn of each realm, on connections that are not kept while others register."""
    crowd = []
    for number in range(count):
        name = f"{prefix}user{number}"
        crowd.append(users.User(name, await server.phone(name, realm=f"realm{number % realms}")))
    return crowd


def _storm(world: World, server: Server, crowd: list[users.User], syncs: int) -> tuple[list[float], list[float]]:
    """Processor time of a sync in ms, and syncs a second, of three runs of about so many syncs together."""
    costs, rates = [], []
    rounds = max(1, syncs // len(crowd))
    world.run(users.saturate(server, crowd, 1))
    for _ in range(world.size(3, 1)):
        rate, cpu = world.run(users.saturate(server, crowd, rounds))
        costs.append(1000 * (cpu.server + cpu.postgres) / (rounds * len(crowd)))
        rates.append(rate)
    return costs, rates


def _quartiles(values: Sequence[float]) -> list[float]:
    """Single calls are told by their middle half: of an outlier on a busy machine there is nothing to learn."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else list(values)


CURVES: dict[str, Callable[[World], Iterable[Curve]]] = {
    "rows": rows_in_space,
    "versions": versions_per_row,
    "push": rows_per_push,
    "users": number_of_users,
    "realms": number_of_realms,
}
