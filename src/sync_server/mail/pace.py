"""How long to pause before trying again."""

from __future__ import annotations

import random
from typing import NamedTuple


class Pace(NamedTuple):
    """Pauses in seconds.

    After a failure `first`, then twice that, and so on up to `longest`; never less than `shortest`; `watching` while a
    queue is merely looked at now and then.
    """

    first: float = 5.0
    longest: float = 120.0  # a PIN lives for 15 minutes
    shortest: float = 1.0
    watching: float = 60.0

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row, with a random part, so that processes do not try in step."""
        doublings = min(failures - 1, 30)
        return float(min(self.longest, self.first * 2**doublings)) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


PACE = Pace()
