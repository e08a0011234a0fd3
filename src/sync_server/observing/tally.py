"""What a process has counted since its start. Plain numbers, so that counting costs next to nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

from sync_server.observing.calls import Call

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of a histogram's buckets, in seconds. There is one more for what took longer."""
OTHER = "other"
"""The route of requests that have none, and the method of those with one of their own: anybody can make them up."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _nothing() -> None:
    pass


class Histogram:
    """How long things took."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


class OfRealm:
    """What is counted by realm."""

    __slots__ = ("aside", "bytes_in", "bytes_out", "conflicts", "requests", "rows_in", "rows_out", "syncs")

    def __init__(self) -> None:
        self.requests = self.syncs = self.rows_in = self.rows_out = 0
        self.bytes_in = self.bytes_out = self.conflicts = self.aside = 0


class Tally:
    """Of one process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """By route, method and status."""
        self.seconds: dict[str, Histogram] = {}
        """By route."""
        self.refusals: Counter[str] = Counter()
        self.realms: dict[str, OfRealm] = {}
        self.lines_dropped = 0
        self.settle: Callable[[], None] = _nothing
        """Counts what has ended and is not counted yet. Whoever reads the numbers calls it first."""

    def add(self, call: Call, route: str | None, seconds: float) -> None:
        """Count a request that has come to its end."""
        route = route or OTHER
        method = call.method if call.method in _METHODS else OTHER
        self.requests[route, method, call.status] += 1
        histogram = self.seconds.get(route)
        if histogram is None:
            histogram = self.seconds[route] = Histogram()
        histogram.observe(seconds)
        if call.error is not None:
            self.refusals[call.error] += 1
        if call.realm is not None:
            self._add_to_realm(call, call.realm)

    def _add_to_realm(self, call: Call, name: str) -> None:
        realm = self.realms.get(name)
        if realm is None:
            realm = self.realms[name] = OfRealm()
        realm.requests += 1
        realm.syncs += call.synced
        realm.rows_in += call.rows_in
        realm.rows_out += call.rows_out
        realm.bytes_in += call.bytes_in
        realm.bytes_out += call.bytes_out
        realm.conflicts += call.conflicts
        realm.aside += call.aside
