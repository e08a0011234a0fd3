"""What processes cost, from /proc; NaN where there is none."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """Seconds on a processor."""

    server: float
    postgres: float
    load: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


class Processes(NamedTuple):
    """The server and the postmaster, with all their children; the load is the process that asks."""

    server: int
    postmaster: int

    def cpu(self) -> Cpu:
        own = os.times()
        return Cpu(_cpu_of_tree(self.server), _cpu_of_tree(self.postmaster), own.user + own.system)

    def memory(self) -> int:
        """Bytes that all of the server's processes have in memory."""
        return sum(_status(pid, "VmRSS") for pid in tree(self.server))

    def biggest(self) -> int:
        """Bytes that the biggest of the server's processes has in memory."""
        return max((_status(pid, "VmRSS") for pid in tree(self.server)), default=0)

    def forget_peak(self) -> None:
        """From now on peak_memory is of what follows."""
        for pid in tree(self.server):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int:
        """Bytes that the server's processes had in memory at most, since forget_peak()."""
        return sum(_status(pid, "VmHWM") for pid in tree(self.server))


def peak(pid: int) -> int:
    """Bytes that one process had in memory at most."""
    return _status(pid, "VmHWM")


def _cpu_of_tree(pid: int) -> float:
    """Of a process and its children, the ended ones too."""
    if not Path("/proc/self/stat").exists():
        return math.nan
    return sum(_ticks(member, ended_children=member == pid) for member in tree(pid)) / _TICKS


def tree(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        found += _children(member)
    return found


def _children(pid: int) -> list[int]:
    """A thread may have started them."""
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += map(int, thread.read_text().split())
        except OSError:  # the thread has ended meanwhile
            continue
    return children


def _ticks(pid: int, *, ended_children: bool) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0  # it has ended meanwhile, and is among its parent's ended children
    return sum(map(int, fields[11:15] if ended_children else fields[11:13]))


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
