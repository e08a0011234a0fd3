"""What tells the process to end: Ctrl-C, a supervisor such as Docker or systemd (SIGTERM), a terminal that was closed; and
what tells a server to read its configuration again: SIGHUP.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ALL = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_ENDING = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], object]


class Ended(SystemExit):
    """The process was told to end. Raised wherever it is, so that everything is cleaned up on the way out."""


def handle(handler: Handler) -> None:
    """Call `handler` for Ctrl-C and SIGTERM from now on. A Ctrl-C that a shell has the process ignore stays ignored."""
    for number in _ENDING:
        _set(number, handler)


def _set(number: int, handler: Handler) -> None:
    if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)


def note_hangups() -> threading.Event:
    """An event that each SIGHUP sets from now on: the configuration is to be read again.

    When the terminal was closed in which the process was started, SIGHUP ends it like SIGTERM. Behind nohup it does nothing.
    """
    hung_up = threading.Event()
    on_terminal = _on_terminal()

    def note(_: int, __: FrameType | None) -> None:
        if on_terminal and not _on_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            hung_up.set()

    if hasattr(signal, "SIGHUP"):
        _set(signal.SIGHUP, note)
    return hung_up


def _on_terminal() -> bool:
    return any(os.isatty(descriptor) for descriptor in range(3))


def raise_ended() -> None:
    """Have the first signal (SIGHUP too) raise Ended, and ignore further ones: they must not disturb the cleaning up."""

    def end(number: int, _: FrameType | None) -> None:
        ignore()
        raise Ended(128 + number)

    for number in ALL:
        _set(number, end)


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


@contextmanager
def waiting() -> Iterator[None]:
    """Let signals wait in the block: Ended, raised in the middle of it, would leave a lock of the library's half taken.

    A mask of this thread (pthread_sigmask) would not do: the system then gives the signal to another thread, and Python
    calls its handler in the main thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers are never called in this thread
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in ALL}
    try:
        for number in ALL:
            _set(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
