"""The numbers of the other processes of the same server, so that whichever is asked can answer for all of them.

Each process writes its own into a file in a directory that they share, now and then. Whoever takes the place of one that has
died goes on with what that one had counted: it has happened. So there are never more files than processes at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import IO

import msgspec

from sync_server.observing.snapshot import Snapshot, together

_PAUSE = 2.0
"""Seconds by which the numbers of others may be old."""
_DECODER = msgspec.msgpack.Decoder(Snapshot)


class Siblings:
    """The processes that share `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock, self._own = _free_place(directory)
        self._past = Snapshot(-inf, [])
        with suppress(FileNotFoundError):
            self._past = Snapshot(-inf, _DECODER.decode(self._own.read_bytes()).samples)

    def with_past(self, own: Snapshot) -> Snapshot:
        """Our numbers, and what was counted in our place before us."""
        return Snapshot(own.taken, together([own, self._past], own.taken))

    def tell(self, own: Snapshot) -> None:
        """Leave our numbers for the others; whole or not at all."""
        unfinished = self._own.with_suffix(".unfinished")
        with suppress(OSError):  # a full disk costs the numbers of this process, and no call
            unfinished.write_bytes(msgspec.msgpack.encode(self.with_past(own)))
            unfinished.replace(self._own)

    def others(self) -> Iterator[Snapshot]:
        """What the others said last."""
        for path in sorted(self._directory.glob("*.numbers")):
            if path != self._own:
                with suppress(FileNotFoundError):
                    yield _DECODER.decode(path.read_bytes())

    async def keep_telling(self, own: Callable[[], Snapshot]) -> None:
        """Tell the others every two seconds, until cancelled."""
        try:
            while True:
                self.tell(own())
                await asyncio.sleep(_PAUSE)
        finally:
            self.tell(own())
            self.leave()

    def leave(self) -> None:
        """Give our place to whoever comes, as the end of the process does by itself."""
        self._lock.close()


def _free_place(directory: Path) -> tuple[IO[bytes], Path]:
    """The first place that no living process has: its lock, which ends with the process, and its file."""
    for number in itertools.count(1):
        lock = (directory / f"{number}.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return lock, directory / f"{number}.numbers"
    raise AssertionError  # itertools.count has no end
