"""One line per request on standard error: JSON, or readable where that is a terminal.

Lines are gathered for a moment and written by a thread, so that neither the cost of writing nor a reader that has stopped
reading is felt by any call. What cannot be written in time is dropped, and said to be.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Literal
from uuid import UUID

import msgspec

from sync_server.observing.calls import Call

_PAUSE = 0.1
"""Seconds that a line waits for others."""
_MOST = 10_000
"""Lines that wait at most."""
_PIECE = 4096
"""Bytes written at once: as much as a pipe takes without mixing it with what other processes write (PIPE_BUF)."""
_END = 2.0
"""Seconds that whoever reads the lines gets at the end."""
_FAILED = 400
_OUR_FAULT = 500
Which = Literal["all", "refused", "none"]


class Line(msgspec.Struct, omit_defaults=True):
    """What is logged of a request: nothing secret, no address of anybody, nothing of a row."""

    event: str
    level: str
    timestamp: datetime
    request_id: str | None
    method: str
    route: str | None
    status: int
    ms: float
    realm: str | None = None
    user: UUID | None = None
    device: UUID | None = None
    rows_in: int = 0
    rows_out: int = 0
    bytes_out: int = 0
    error: str | None = None
    broken_off: bool = False
    """Whether the answer did not come to its end."""


_encoder = msgspec.json.Encoder()


def line_of(call: Call, route: str | None, seconds: float, date: float) -> Line:
    device = call.device
    return Line(
        "request",
        "warning" if call.status >= _OUR_FAULT else "info",
        datetime.fromtimestamp(date, UTC),
        call.request_id,
        call.method,
        route,
        call.status,
        round(seconds * 1000, 2),
        call.realm,
        call.user if device is None else device.user_id,
        None if device is None else device.client_id,
        call.rows_in,
        call.rows_out,
        call.bytes_out,
        call.error,
        not call.complete,
    )


def as_json(line: Line) -> bytes:
    return _encoder.encode(line) + b"\n"


def readable(line: Line) -> bytes:
    """For a person at a terminal."""
    names = ("realm", "user", "device", "rows_in", "rows_out", "bytes_out", "error", "broken_off", "request_id")
    said = " ".join(f"{name}={value}" for name in names if (value := getattr(line, name)))
    route = line.route or "(no such route)"
    return f"{line.timestamp:%H:%M:%S} {line.method} {route} {line.status} {line.ms:.1f} ms  {said}\n".encode()


class Lines:
    """Writes the lines of a process."""

    def __init__(self, which: Which, descriptor: int | None = None) -> None:
        """`descriptor`: where to; standard error if not given."""
        self._least = {"all": 0, "refused": _FAILED, "none": 1000}[which]
        descriptor = sys.stderr.fileno() if descriptor is None else descriptor
        self._form: Callable[[Line], bytes] = readable if os.isatty(descriptor) else as_json
        self._lines: list[bytes] = []
        self.dropped = 0
        self._told = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writer = _Writer(descriptor)

    def add(self, call: Call, route: str | None, seconds: float, at: float | None = None) -> None:
        """Log a request that has come to its end, `at` that time of the monotonic clock (now, if not given)."""
        if call.status < self._least:
            return
        if len(self._lines) >= _MOST:
            self.dropped += 1
            return
        date = time.time() if at is None else time.time() - time.monotonic() + at
        self._lines.append(self._form(line_of(call, route, seconds, date)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._hand_over)

    def _hand_over(self) -> None:
        self._timer = None
        if self._writer.idle.is_set():
            self._writer.write(self._taken())
        else:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._hand_over)

    def _taken(self) -> list[bytes]:
        lines, self._lines = self._lines, []
        if self.dropped > self._told:
            said = {"event": "log_lines_dropped", "level": "warning", "lines": self.dropped - self._told}
            self._told = self.dropped
            lines.append(_encoder.encode(said) + b"\n")
        return lines

    async def close(self) -> None:
        """Write what is left, if whoever reads it does so in time."""
        if self._timer is not None:
            self._timer.cancel()
        self._writer.write(self._taken())
        await asyncio.to_thread(self._writer.idle.wait, _END)


class _Writer(threading.Thread):
    """A thread that may be left behind: whoever has stopped reading must not keep the process from ending."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(name="log", daemon=True)
        self._descriptor = descriptor
        self._batches: SimpleQueue[list[bytes]] = SimpleQueue()
        self.idle = threading.Event()
        self.idle.set()
        self.start()

    def write(self, lines: list[bytes]) -> None:
        self.idle.clear()
        self._batches.put(lines)

    def run(self) -> None:
        while True:
            lines = self._batches.get()
            with suppress(OSError):  # nobody reads them any more
                for piece in _pieces(lines):
                    os.write(self._descriptor, piece)
            if self._batches.empty():
                self.idle.set()


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The lines, several together, none cut."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > _PIECE:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield b"".join(piece)
