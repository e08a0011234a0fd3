"""Signals that come while a thread is started wait until it runs."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from sync_server import preparing, signals


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    told: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        told.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        with signals.blocked():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not told
        assert told == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_processes_that_a_background_thread_starts_get_signals() -> None:
    """They inherit what is blocked: an embedded PostgreSQL would not hear that it is to stop."""
    blocked: list[set[int]] = []
    looked = threading.Event()

    def look(_: threading.Event) -> None:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        looked.set()

    with preparing.background(look, "test"):
        assert looked.wait(10)
    assert not blocked[0] & set(signals.ALL)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(signals.ALL)
