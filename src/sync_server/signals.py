"""What tells the process to end: Ctrl-C, a supervisor such as Docker or systemd (SIGTERM), a terminal that was closed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ALL = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
Handler = Callable[[int, FrameType | None], object]


class Ended(SystemExit):
    """The process was told to end. Raised wherever it is, so that everything is cleaned up on the way out."""


def handle(handler: Handler) -> None:
    """Call `handler` for each of the signals from now on, except for a SIGHUP that nohup has the process ignore."""
    for number in ALL:
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def raise_ended() -> None:
    """Have the first signal raise Ended, and ignore further ones: they must not disturb the cleaning up."""

    def end(number: int, _: FrameType | None) -> None:
        ignore()
        raise Ended(128 + number)

    handle(end)


def ignore() -> None:
    for number in ALL:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_off() -> Iterator[None]:
    """Ignore the signals in the block: it cleans up, and must not be cut short."""
    before = {number: signal.getsignal(number) for number in ALL}
    ignore()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
