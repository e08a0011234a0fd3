"""A clock that can be set while the server runs: libfaketime, which takes its offset from a file."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOP = Path(__file__).parents[2]
_INSTALLED = "usr/lib/*/faketime/libfaketime.so.1"


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


def find(directory: Path) -> Clock | None:
    """A clock whose file is in `directory`; None where libfaketime cannot be had."""
    library = _library()
    if library is None:
        return None
    clock = Clock(library, directory / "clock")
    clock.set(0)
    return clock


@cache
def _library() -> Path | None:
    """The system's, or Debian's package, unpacked without being installed."""
    installed = sorted(Path("/").glob(_INSTALLED))
    if not installed and (tree := _fetched()):
        installed = sorted(tree.glob(_INSTALLED))
    return installed[0] if installed else None


@cache
def _fetched() -> Path | None:
    done = subprocess.run(
        [TOP / ".ci" / "fetch", "debian", "libfaketime"], capture_output=True, text=True, timeout=300, check=False
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None
