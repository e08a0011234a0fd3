"""What a database was seen to do, which tells whether it answers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LONG = 2.0
"""Seconds after which a new connection that has not come about counts as unanswered."""


class Signs:
    """Of one database. Waiting says nothing about it: a call may wait for what others of ours hold."""

    def __init__(self) -> None:
        self._answered = -math.inf
        self._failed = -math.inf
        self._tries: dict[object, float] = {}
        """When each connection was begun that is being made."""

    def answers(self) -> None:
        """It has just answered somebody."""
        self._answered = time.monotonic()

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """In the block a connection is made."""
        this = object()
        self._tries[this] = time.monotonic()
        try:
            yield
        except Exception:
            self._failed = time.monotonic()
            raise
        else:
            self.answers()
        finally:
            del self._tries[this]

    def answered_since(self, moment: float) -> bool:
        return self._answered > moment

    def silent_since(self, moment: float) -> bool:
        """Whether it has answered nobody since then, though somebody tried to connect: in vain, or for long."""
        if self.answered_since(moment):
            return False
        return self._failed > moment or any(time.monotonic() - begun > _LONG for begun in self._tries.values())
