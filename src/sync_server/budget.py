"""One budget of connections for all databases of a process, and who gets how much of it.

A call takes a *turn*, uses a connection of its database's pool, and gives the turn back; there are as many turns as
connections, so whoever has a turn gets a connection: an idle one, a new one, or a new one for which an idle one of
another database gives way, the least recently used first.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque

from sync_server.deadlines import Deadlines
from sync_server.places import Places

_FEW = 3
"""Turns that a database may have while none of its calls comes to an end."""
_STALL = 0.25
"""Seconds without the end of a call after which a database counts as one that does not get on."""
_OVERDUE = 0.1
"""Seconds after which whoever waits comes before those who have a connection at hand."""
_MOST_WAITING = 1000
_LOOK = 5.0
"""Seconds between looks at what has become idle."""


class NoTurn(Exception):
    """The budget has no turn for the database in time."""


class Holder(ABC):
    """A database: what takes turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.waiting: deque[tuple[asyncio.Future[None], float]] = deque()
        """Who waits for a turn, and since when."""
        self.last_used = 0.0
        self.last_sign = 0.0
        """When a call came to its end, or the first one began."""

    @property
    @abstractmethod
    def idle(self) -> int:
        """Connections that nobody uses."""

    @abstractmethod
    async def give_way(self) -> None:
        """Close an idle connection, the least recently used."""

    @abstractmethod
    def rest(self, now: float) -> bool:
        """Close what has been idle for long; whether nothing is open any more."""


class Budget:
    """`size` connections for all holders, so that none can starve another.

    Where there are several, a holder gets a further turn only while more turns are free than it has already: a busy one gets
    half of the budget, a second one half of the rest, and so on, and there is room for whoever comes. One whose
    calls do not come to an end gets no more than a few.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.places = Places(size, self._make_room)
        self.deadlines = Deadlines()
        self._turns = 0
        self._probes = 0
        self._holders: set[Holder] = set()
        self._waiting: dict[Holder, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def holders(self) -> int:
        return len(self._holders)

    def enter(self, holder: Holder) -> None:
        self._holders.add(holder)

    def leave(self, holder: Holder) -> None:
        self._holders.discard(holder)

    async def take(self, holder: Holder, seconds: float) -> None:
        """Wait for a turn. Raises NoTurn; `give_back` must follow otherwise."""
        if self.take_at_once(holder):
            return
        if len(holder.waiting) >= _MOST_WAITING:
            raise NoTurn
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (turn, time.monotonic())
        holder.waiting.append(place)
        self._waiting[holder] = None
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as exc:
            if place in holder.waiting:
                holder.waiting.remove(place)
            elif not turn.cancelled() and turn.exception() is None:  # handed out in the same moment
                self.give_back(holder)
            if isinstance(exc, TimeoutError):
                raise NoTurn from None
            raise

    def take_at_once(self, holder: Holder) -> bool:
        """Take a turn if one need not wait for it; `give_back` must follow then."""
        if holder.waiting or not self._may_take(holder):
            return False
        self._hand_out(holder)
        return True

    def give_back(self, holder: Holder) -> None:
        """End a turn; others may have it."""
        self._turns -= 1
        holder.turns -= 1
        holder.last_used = holder.last_sign = time.monotonic()
        self.places.notify()
        if self._waiting:
            self._hand_out_all()

    def turn_away(self, holder: Holder) -> None:
        """Have everybody who waits for a turn of this holder get NoTurn now."""
        waiting, holder.waiting = holder.waiting, deque()
        for turn, _ in waiting:
            if not turn.done():
                turn.set_exception(NoTurn())

    def begin_probe(self) -> bool:
        """Whether there is room for one more call to a database that is known not to answer. `end_probe` must follow."""
        if self._probes >= max(1, self.size // 4):
            return False
        self._probes += 1
        return True

    def end_probe(self) -> None:
        self._probes -= 1

    def _may_take(self, holder: Holder) -> bool:
        free = self.size - self._turns
        if free <= 0 or len(self._holders) <= 1:
            return free > 0
        stalls = holder.turns and time.monotonic() - holder.last_sign > _STALL
        return holder.turns < (min(free, _FEW) if stalls else free)

    def _hand_out(self, holder: Holder) -> None:
        if not holder.turns:
            holder.last_sign = time.monotonic()
        self._turns += 1
        holder.turns += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _hand_out_all(self) -> None:
        """Hand out what is free to those who wait and may have it."""
        while self._turns < self.size:
            for holder in [holder for holder in self._waiting if not holder.waiting]:
                del self._waiting[holder]
            able = [holder for holder in self._waiting if self._may_take(holder)]
            if not able:
                return
            holder = _next(able)
            turn, _ = holder.waiting.popleft()
            if not turn.done():
                self._hand_out(holder)
                turn.set_result(None)

    async def _make_room(self) -> None:
        """Close an idle connection: of a database that is at rest, the least recently used first, else of a busy one."""
        idle = [holder for holder in self._holders if holder.idle]
        if idle:
            await min(idle, key=lambda holder: (holder.turns > 0, holder.last_used)).give_way()

    def _look(self) -> None:
        now = time.monotonic()
        self._timer = None
        resting = [holder.rest(now) for holder in list(self._holders)]
        if not all(resting):
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)


def _next(able: list[Holder]) -> Holder:
    """Who gets the next turn: the one that has none and is overdue, else one with an idle connection; of those with the
    fewest turns the one that has waited for longest.

    Were turns to go strictly round, with more databases than connections every call would have to connect anew.
    """
    overdue = time.monotonic() - _OVERDUE
    late = [holder for holder in able if not holder.turns and holder.waiting[0][1] < overdue]
    if late:
        return min(late, key=lambda holder: holder.waiting[0][1])
    return min(able, key=lambda holder: (not holder.idle, holder.turns, holder.waiting[0][1]))
