"""A small disk that can be filled up."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_SIZE = "256m"
_PIECE = 1 << 20


class NoDisk(Exception):
    """None can be had here; the text says why."""


@dataclass(frozen=True)
class Disk:
    """A file system of its own, in memory."""

    directory: Path
    settings: dict[str, str] = field(default_factory=lambda: {"max_wal_size": "64MB", "min_wal_size": "32MB"})
    """PostgreSQL's, so that its log leaves room."""

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left in the block."""
        ballast = self.directory / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (_PIECE, 4096):
                _write_until_full(file.fileno(), size)
        try:
            yield
        finally:
            ballast.unlink()


def _write_until_full(file: int, size: int) -> None:
    piece = bytes(size)
    try:
        while os.write(file, piece):
            pass
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise


@contextmanager
def small_disk(directory: Path) -> Iterator[Disk]:
    """Mounted at `directory` as long as the block lasts. Raises NoDisk unless run as root where mounting is allowed."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0755", "tmpfs", str(directory)]
    if os.geteuid() != 0:
        raise NoDisk("only root can mount a small disk")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDisk(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
