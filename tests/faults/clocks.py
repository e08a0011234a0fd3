"""A clock that can be set while the server runs: libfaketime, which takes its offset from a file."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOP = Path(__file__).parents[2]


@dataclass(frozen=True)
class Clock:
    """The clock of processes that run with `environment`."""

    library: Path
    file: Path

    def set(self, seconds: int) -> None:
        """So far from the right time, within a second."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",  # a killed process would leave its shared memory behind
        }

    def works(self) -> bool:
        """Some versions set the clock, and break sleeping."""
        command = [sys.executable, "-c", "import time; time.sleep(0.01)"]
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False).returncode == 0


def find(directory: Path) -> Clock | None:
    """A clock whose file is in `directory`; None where libfaketime cannot be had."""
    for library in _libraries():
        clock = Clock(library, directory / "clock")
        clock.set(0)
        if clock.works():
            return clock
    return None


@cache
def _libraries() -> list[Path]:
    """From PyPI and, only if it is not there, from Debian; unpacked without being installed."""
    for wanted in (["wheel", "libfaketime==3.0.1"], ["debian", "libfaketime"]):
        fetch = ["sh", str(TOP / ".ci" / "fetch"), *wanted]
        done = subprocess.run(fetch, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode == 0 and (found := sorted(Path(done.stdout.strip()).glob("**/libfaketime.so.1"))):
            return found
    return []
