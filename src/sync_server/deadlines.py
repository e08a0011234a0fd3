"""The time that calls may take in the database: one timer looks after all of them, which would cost each of them two."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod

_LOOK = 0.1
"""Seconds between looks, and so how much too long a call may take."""


class Bounded(ABC):
    """What must not take too long: first it is told so, and cut some time later."""

    late_at = math.inf
    """By the monotonic clock."""
    cut_at = math.inf

    @abstractmethod
    def tell(self) -> None:
        """The time is over."""

    @abstractmethod
    def cut(self) -> None:
        """It has not even ended after it was told."""


class Deadlines:
    """Of what is under way."""

    def __init__(self) -> None:
        self._under_way: set[Bounded] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, bounded: Bounded, seconds: float, patience: float) -> None:
        """Tell it in `seconds`, cut it after further `patience`. `end` must follow."""
        bounded.late_at = time.monotonic() + seconds
        bounded.cut_at = bounded.late_at + patience
        self._under_way.add(bounded)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def end(self, bounded: Bounded) -> None:
        self._under_way.discard(bounded)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for bounded in list(self._under_way):
            if bounded.late_at <= now:
                bounded.late_at = math.inf
                bounded.tell()
            if bounded.cut_at <= now:
                bounded.cut_at = math.inf
                bounded.cut()
        if self._under_way:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)
