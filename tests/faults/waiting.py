"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float, complaint: str) -> None:
    """Raises AssertionError with the complaint when it does not come about in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{complaint}, after {seconds} s"
        time.sleep(0.05)
