"""Who owns a data directory: one process at a time, until it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":  # the package must be importable there, to say what to do instead
    import fcntl


class Lock:
    """A lock on the file at `path`. The kernel frees it however the process that holds it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._descriptor is not None

    @property
    def holder(self) -> str:
        """Who holds it, for a message."""
        holder = self.path.read_text().strip()
        return f"process {holder}" if holder.isdigit() else "another process"

    def take(self) -> bool:
        """Hold it until release(); False when another process does."""
        lock = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.write(lock, b"%d\n" % os.getpid())
        except BlockingIOError:
            os.close(lock)
            return False
        except BaseException:
            os.close(lock)
            raise
        self._descriptor = lock
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
