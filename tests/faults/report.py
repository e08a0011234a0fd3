"""What a long run was like, as a document."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version

from faults.bystander import Seen
from faults.crowd import Tally
from faults.injections import ALL
from faults.runs import RETRIES, Result
from faults.world import Usage


@dataclass
class Report:
    """The sum of all rounds."""

    seed: int
    begun: float = field(default_factory=time.monotonic)
    seeds: list[int] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    events: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    mails: set[str] = field(default_factory=set)
    bystanders: list[Seen] = field(default_factory=list)
    several: int = 0
    """Rounds in which several processes served."""
    at_the_end: str = ""
    broken: str = ""
    """The promise that was not kept, and the plan under which."""

    def add(self, seed: int, result: Result) -> None:
        self.seeds.append(seed)
        self.injected += result.plan.counted
        self.tally.add(result.tally)
        self.events += result.events
        self.recoveries += result.recoveries
        self.usages += [result.before, result.after]
        self.mails |= result.mails
        self.bystanders += [result.bystander] if result.bystander else []
        self.several += result.workers > 1

    def __str__(self) -> str:
        minutes = (time.monotonic() - self.begun) / 60
        verdict = "a promise was broken" if self.broken else "every promise was kept"
        head = [
            f"# {minutes:.0f} minutes of faults: {verdict}",
            self._circumstances(),
            _table([("", ""), *self._figures()]),
            _table([("injected", "times"), *((each.name, self.injected[each.name]) for each in ALL)]),
        ]
        return "\n\n".join([*head, *([f"```\n{self.broken}\n```"] if self.broken else [])]) + "\n"

    def _circumstances(self) -> str:
        machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
        seeds = f"seeds {self.seed} to {self.seed + max(0, len(self.seeds) - 1)}"
        return f"sync-server {version('sync-server')}, {machine}, {time.strftime('%Y-%m-%d')}; {seeds}"

    def _figures(self) -> list[tuple[str, object]]:
        tally = self.tally
        longest = max(self.recoveries, default=0.0)
        return [
            ("rounds, of which with two workers", f"{len(self.seeds)}, {self.several}"),
            ("faults injected", self.injected.total()),
            ("syncs that came to their end", tally.syncs),
            ("syncs that failed and were tried again", tally.failed),
            ("requests", tally.requests),
            ("requests or answers lost on the way", tally.lost),
            ("answers by status", ", ".join(f"{status}: {times}" for status, times in sorted(tally.statuses.items()))),
            ("transactions retried or given up by the server", sum(self.events[name] for name in RETRIES)),
            ("changes acknowledged, all found again", tally.acknowledged),
            ("mails promised", len(self.mails)),
            ("longest wait of a request", f"{tally.longest_wait:.1f} s"),
            ("longest time from the end of a fault until every device had synced", f"{longest:.1f} s"),
            ("calls of the bystander, of which failed", f"{sum(each.calls for each in self.bystanders)}, 0"),
            ("the bystander's p99, in the best and in the worst round", _seconds(each.p99 for each in self.bystanders)),
            ("its longest wait, likewise", _seconds(each.longest for each in self.bystanders)),
            (
                "memory of the server at rest, first, highest, last",
                _figures([usage.rss for usage in self.usages], " MB"),
            ),
            ("files open at rest, first, highest, last", _figures([usage.files for usage in self.usages])),
            ("connections at the end, when idle", self.at_the_end or "not looked at"),
        ]


def _figures(values: list[float] | list[int], unit: str = "") -> str:
    return f"{values[0]:.0f}, {max(values):.0f}, {values[-1]:.0f}{unit}" if values else "none"


def _seconds(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.2f} s, {found[-1]:.2f} s" if found else "none"


def _table(lines: list[tuple[str, object]]) -> str:
    (left, right), *rest = lines
    return "\n".join([f"| {left} | {right} |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rest)])
