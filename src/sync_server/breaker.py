"""Keeps calls away from a database that does not answer, and lets one through now and then to see whether it is back."""

from __future__ import annotations

import random
import time

from sync_server.budget import Budget

_FIRST = 0.25
_LONGEST = 10.0
"""Seconds between two looks."""


class NotAnswering(Exception):
    """The database did not answer others; `retry_after` seconds from now the next one may try."""

    def __init__(self, retry_after: float) -> None:
        super().__init__()
        self.retry_after = retry_after


class Breaker:
    """Of one database."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._failures = 0
        self._next = 0.0
        self._probing = False

    def let_through(self) -> bool:
        """Let a call pass; whether it is the one that is to find out, after which `end_probe` must follow.

        Raises NotAnswering.
        """
        if not self._failures:
            return False
        wait = self._next - time.monotonic()
        if self._probing or wait > 0 or not self._budget.begin_probe():
            raise NotAnswering(max(wait, 1.0))
        self._probing = True
        return True

    def end_probe(self) -> None:
        self._probing = False
        self._budget.end_probe()

    @property
    def closed(self) -> bool:
        """Whether calls pass."""
        return not self._failures

    def failed(self) -> bool:
        """It did not answer; whether that is news. Calls that were under way already tell nothing new."""
        if self._failures and not self._probing:
            return False
        self._failures += 1
        pause = min(_LONGEST, _FIRST * 2 ** min(self._failures - 1, 10))
        self._next = time.monotonic() + pause * random.uniform(0.75, 1.0)  # noqa: S311 - not all at the same time
        return self._failures == 1

    def answered(self) -> None:
        self._failures = 0
