"""The numbers of the other processes of the same server, so that whichever is asked can answer for all of them.

Each process writes its own into a file in a directory that they share, now and then. Files of processes that have died
stay: what they counted has happened.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from sync_server.observing.snapshot import Snapshot

_PAUSE = 2.0
"""Seconds by which the numbers of others may be old."""
_DECODER = msgspec.msgpack.Decoder(Snapshot)


class Siblings:
    """The processes that share `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own = directory / f"{os.getpid()}.numbers"

    def tell(self, own: Snapshot) -> None:
        """Leave our numbers for the others; whole or not at all."""
        unfinished = self._own.with_suffix(".unfinished")
        with suppress(OSError):  # a full disk costs the numbers of this process, and no call
            unfinished.write_bytes(msgspec.msgpack.encode(own))
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
