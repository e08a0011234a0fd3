"""Whether there is room for more, without counting each time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

_LATELY = 1.0
"""Seconds for which a count holds."""


class Glance(NamedTuple):
    """What this process knows when it begins to count. What it counts must leave out those that are `entering`."""

    let_in: int
    entering: frozenset[UUID]


class Room:
    """What was counted last, and how many have come since, by this process; others may have let in as many.

    Until half of what there may be is there, a count holds for a second. Then each is let in by a count of its own, and is
    told not only of those who were seen, but of all who were let in since and may not be there yet. So however many come at
    once, one process alone lets in no more than there may be. It may turn one away too soon: who was let in, or came
    again, while it counted is taken for two.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted = math.inf  # nothing is known before the first count
        self._until = 0.0
        self._let_in = self._then = 0
        self._entering: dict[int, UUID] = {}

    def suffices(self, most: int) -> bool:
        """Whether one more may come in, by what is known. If not, one is to count them anew."""
        now = self._clock()
        if now >= self._until:
            self._until = now + _LATELY  # one counts; meanwhile the others go by what was known
            return False
        return self._counted + self._let_in - self._then < most // 2

    def enter(self, client: UUID) -> int:
        """Let it in. `entered` is to be told what comes back when a count can see it, or when it does not come after all."""
        self._let_in += 1
        self._entering[self._let_in] = client
        return self._let_in

    def entered(self, number: int) -> None:
        """See enter."""
        del self._entering[number]

    def glance(self) -> Glance:
        """Take it before counting."""
        return Glance(self._let_in, frozenset(self._entering.values()))

    def note(self, glance: Glance, counted: int, client: UUID) -> int:
        """How many others than the client are there, or on their way, by what was counted of them after the glance."""
        others = counted + len(glance.entering - {client})
        if glance.let_in >= self._then:
            self._counted, self._then = others, glance.let_in
        return others + self._let_in - glance.let_in
