"""Whether there is room for more, without counting each time."""

from __future__ import annotations

import time

_LATELY = 1.0
"""Seconds for which a count holds."""


class Room:
    """What was counted last, and how many have come since, by this process; others may have let in as many.

    Until half of what there may be is there, a count holds for a second: so however many come in that second, one process
    alone lets in no more than there may be.
    """

    def __init__(self) -> None:
        self._counted = 0
        self._since = 0
        self._until = 0.0

    def suffices(self, most: int) -> bool:
        """Whether one more may come in, who then counts as being there. If not, one is to count them anew."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _LATELY  # one counts; meanwhile the others go by what was known
            return False
        self._since += 1
        return self._counted + self._since <= most // 2

    def note(self, counted: int) -> None:
        """How many are there."""
        self._counted, self._since = counted, 0
