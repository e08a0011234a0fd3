"""A run: a crowd lives through a plan, comes back by itself, and every promise is checked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from faults.bystander import Bystander, Seen
from faults.crowd import Crowd, Tally
from faults.forgetful import Forgetful
from faults.plan import Plan, one_by_one, side_by_side
from faults.verdict import check
from faults.world import Usage, World

RECOVERY_LIMIT = 40.0
"""Seconds after a fault in which every device must have synced, without anybody's help, also on a very busy machine."""
RETRIES = {"database_error", "database_unavailable", "transaction_retried"}
"""What the server logs when it has met a fault of its database."""


@dataclass
class Result:
    """What a run was like."""

    plan: Plan
    tally: Tally
    before: Usage
    after: Usage
    events: Counter[str]
    """What the server has logged."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the end of a fault until every device had synced."""
    mails: set[str] = field(default_factory=set)
    """Addresses to which a PIN was promised."""
    bystander: Seen | None = None
    workers: int = 1

    def __str__(self) -> str:
        tally = self.tally
        return (
            f"{tally.syncs} syncs, {tally.failed} failed and tried again, {tally.requests} requests, {tally.lost} lost, "
            f"statuses {dict(tally.statuses)}, {tally.acknowledged} changes acknowledged, {len(self.mails)} mails, "
            f"longest wait {tally.longest_wait:.1f} s, recovery {max(self.recoveries):.1f} s, "
            f"{self.before} -> {self.after}, {dict(self.events)}, {self.workers} workers, {self.bystander}"
        )


def run_alone(world: World, plan: Plan, seed: int) -> Result:
    """The steps one by one; every device syncs before the next one. Raises AssertionError, which tells the plan."""
    return _run(world, plan, seed, 2, lambda recover: one_by_one(plan, world, recover))


def run_storm(world: World, plan: Plan, seed: int) -> Result:
    """The layers side by side. Raises AssertionError, which tells the plan."""
    return _run(world, plan, seed, 3, lambda _: side_by_side(plan, world))


def _run(world: World, plan: Plan, seed: int, devices: int, execute: Callable[[Callable[[], None]], None]) -> Result:
    recoveries: list[float] = []
    with _telling(plan), ExitStack() as stack:
        events = world.events()
        crowd = stack.enter_context(Crowd(world, seed, users=2, devices=devices))
        forgetful = stack.enter_context(Forgetful(crowd, seed, 4, 1.0))
        bystander = stack.enter_context(Bystander(world, seed)) if world.well else None

        def recover() -> None:
            recoveries.append(crowd.all_have_synced(time.monotonic(), RECOVERY_LIMIT))

        recover()
        recoveries.clear()
        before = world.usage()  # when every process serves
        execute(recover)
        recover()
        crowd.stop()
        if bystander:
            bystander.stop()
        after = check(world, crowd, before)
        forgetful.check_queued()
        seen = bystander.check() if bystander else None
    events = world.events() - events
    result = Result(plan, crowd.tally, before, after, events, recoveries, forgetful.promised, seen, world.workers)
    print(plan, result, sep="\n")  # noqa: T201 - pytest shows it when asked to
    return result


@contextmanager
def _telling(plan: Plan) -> Iterator[None]:
    """What is wrong in the block is told with the plan."""
    try:
        yield
    except Exception as exc:
        raise AssertionError(f"{exc}\n{plan}") from exc
