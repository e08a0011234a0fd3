"""Signals that come while a thread is started wait until it runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from sync_server import preparing, signals


@pytest.fixture
def told() -> Iterator[list[int]]:
    """The signals that a handler for SIGTERM heard."""
    numbers: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        numbers.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield numbers
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_for_the_end_of_the_block(told: list[int]) -> None:
    """Also where another thread could take it: the system chooses one, and Python's handler runs in the main thread."""
    end = threading.Event()
    other = threading.Thread(target=end.wait, args=(30,))
    other.start()
    try:
        with signals.waiting():
            os.kill(os.getpid(), signal.SIGTERM)
            until = time.monotonic() + 0.1
            while time.monotonic() < until:
                assert not told
        assert told == [signal.SIGTERM]
    finally:
        end.set()
        other.join()


def test_a_signal_that_waits_while_a_block_fails_is_heard(told: list[int]) -> None:
    def fail() -> None:
        with signals.waiting():
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert told == [signal.SIGTERM]


def test_signals_wait_for_no_other_thread(told: list[int]) -> None:
    """Python calls handlers in the main thread only, and lets only that one change them."""
    within, end = threading.Event(), threading.Event()

    def block() -> None:
        with signals.waiting():
            within.set()
            end.wait(30)

    other = threading.Thread(target=block)
    other.start()
    try:
        assert within.wait(30)
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + 30
        while not told:
            assert time.monotonic() < until
    finally:
        end.set()
        other.join()


def test_processes_that_a_background_thread_starts_get_signals() -> None:
    """They inherit what is blocked: an embedded PostgreSQL would not hear that it is to stop."""
    blocked: list[set[int]] = []
    looked = threading.Event()

    def look(_: threading.Event) -> None:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        looked.set()

    with preparing.background(look, "test"):
        assert looked.wait(60)
    assert not blocked[0] & set(signals.ALL)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(signals.ALL)
