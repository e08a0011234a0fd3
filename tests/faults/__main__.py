"""The long run: storms until the time is over, with a report.

.venv/bin/python tests/faults --minutes 30
.venv/bin/python tests/faults --seed 4711 --rounds 1     one round again
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.disks import NoDisk, small_disk
from faults.plan import available, storm
from faults.report import Report
from faults.runs import run_storm
from faults.waiting import until
from faults.world import World

SECONDS = 40.0
"""Of a storm."""
USUAL = 4
"""Rounds whose seed can be divided by this have PostgreSQL on the usual disk, others on a small one, which gets full."""
MAIL_LIMIT = 180.0
"""Seconds until the last mail: the longest pause between tries is two minutes."""
IDLE_LIMIT = 150.0
"""Seconds until no connection is left that nobody uses."""


def has_small_disk(seed: int) -> bool:
    return seed % USUAL != 0


def workers(seed: int) -> int:
    """How many processes serve in the round with this seed."""
    return 1 + seed % 2


class Worlds:
    """The usual one, and one with a small disk where that is possible; each made when it is wanted first."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        self._usual: World | None = None
        self._small: World | None = None
        self._tried = False

    def of(self, seed: int) -> World:
        world = (self._with_disk() if has_small_disk(seed) else None) or self.usual
        world.serve_with(workers(seed))
        return world

    @property
    def usual(self) -> World:
        if self._usual is None:
            self._usual = self._stack.enter_context(World(self._directory / "usual"))
        return self._usual

    @property
    def made(self) -> list[World]:
        return [world for world in (self._usual, self._small) if world is not None]

    def _with_disk(self) -> World | None:
        if not self._tried:
            self._tried = True
            try:
                disk = self._stack.enter_context(small_disk(self._directory / "disk"))
            except NoDisk as exc:
                click.echo(f"no full disks: {exc}")
            else:
                self._small = self._stack.enter_context(World(self._directory / "small", disk))
        return self._small


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--rounds", type=int, help="At most so many.")
@click.option("--seed", type=int, help="Of the first round; the next one has the next.  [default: the time]")
@click.option("--report", "path", type=click.Path(path_type=Path), default=Path("faults-report.md"), show_default=True)
def main(minutes: float, rounds: int | None, seed: int | None, path: Path) -> None:
    """Inject faults of all kinds at the same time, round after round, until one promise is broken or the time is over."""
    seed = int(time.time()) if seed is None else seed
    report = Report(seed)
    end = time.monotonic() + minutes * 60
    with ExitStack() as stack:
        worlds = Worlds(stack)
        try:
            while time.monotonic() < end and (rounds is None or len(report.seeds) < rounds):
                _round(worlds.of(seed), seed, report, path)
                seed += 1
            _come_to_rest(worlds.made, report)
        except AssertionError as exc:
            report.broken = f"seed {seed}: {exc}"
    path.write_text(str(report))
    click.echo(report)
    sys.exit(1 if report.broken else 0)


def _round(world: World, seed: int, report: Report, path: Path) -> None:
    result = run_storm(world, storm(available(world), seed, SECONDS), seed)
    report.add(seed, result)
    path.write_text(str(report))  # what there is, should it be ended


def _come_to_rest(worlds: list[World], report: Report) -> None:
    """Every mail arrives, and the server gives its connections back."""

    def arrived() -> set[str]:
        return {address for world in worlds for mail in list(world.office.received) for address in mail.recipients}

    until(lambda: report.mails <= arrived(), MAIL_LIMIT, "a mail was promised and did not arrive")
    until(lambda: not sum(world.usage().connections for world in worlds), IDLE_LIMIT, "idle connections are kept")
    report.at_the_end = "none"


if __name__ == "__main__":
    main()
