"""What the server tells Prometheus, gathered when it is asked for."""

from __future__ import annotations

import asyncio
import itertools
import os
import platform
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from sync_server.accounts.passwords import Passwords
from sync_server.mail.courier import Outcome, Outcomes
from sync_server.mail.messages import TEMPLATES
from sync_server.observing.queues import QueueWatch
from sync_server.observing.siblings import Siblings
from sync_server.observing.snapshot import Sample, Snapshot, histogram, snapshot, together
from sync_server.observing.tally import OfRealm, Tally
from sync_server.realms import Realms

_BUILD = (version("sync-server"), platform.python_version())
_BEGUN = time.monotonic()
_MAILS = tuple(itertools.product(TEMPLATES, get_args(Outcome)))
_OF_REALMS = {
    "realm_requests": "requests",
    "syncs": "syncs",
    "rows_received": "rows_in",
    "rows_sent": "rows_out",
    "bytes_received": "bytes_in",
    "bytes_sent": "bytes_out",
    "conflicts": "conflicts",
    "kept_aside": "aside",
}
"""Families with a sample for each realm, and what OfRealm calls them."""


@dataclass(frozen=True)
class Parts:
    """The parts of a process that are asked for numbers."""

    tally: Tally
    realms: Realms
    passwords: Passwords
    mails: Outcomes


class Metrics:
    """The numbers of a process, and of its siblings."""

    def __init__(self, parts: Parts, siblings: Siblings | None) -> None:
        """`siblings`: the other processes of the server, if there are any."""
        self._parts = parts
        self._siblings = siblings
        self._queues = QueueWatch(parts.realms)

    @asynccontextmanager
    async def told_to_siblings(self) -> AsyncIterator[None]:
        """Tell the others, while the block runs."""
        if self._siblings is None:
            yield
            return
        telling = asyncio.create_task(self._siblings.keep_telling(self._own))
        try:
            yield
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling

    async def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the form that the `Accept` header asks for, and the name of that form."""
        self._parts.tally.settle()
        await self._queues.refresh(self._parts.tally.realms)
        samples = together([*self._all(), self._nothing_yet()], time.monotonic())
        from sync_server.observing import exposition  # noqa: PLC0415 - its library is needed by those who scrape alone

        return exposition.text(samples, accept)

    def _all(self) -> list[Snapshot]:
        if self._siblings is None:
            return [self._own()]
        return [self._siblings.with_past(self._own()), *self._siblings.others()]

    def _nothing_yet(self) -> Snapshot:
        """So that the first of what an alert counts is an increase, not a series that is there from one look to the next."""
        names = self._parts.realms.names
        aside = [Sample("kept_aside", (name,), 0) for name in names]
        return snapshot([*aside, *(Sample("mails", (name, *of), 0) for name in names for of in _MAILS)])

    def _own(self) -> Snapshot:
        self._parts.tally.settle()
        return snapshot([*_of_process(), *_of_requests(self._parts.tally), *self._of_parts()])

    def _of_parts(self) -> Iterator[Sample]:
        yield from _of_realms(self._parts.realms)
        passwords = self._parts.passwords
        yield Sample("bcrypt_waiting", (), passwords.waiting)
        yield histogram("bcrypt_wait_seconds", (), passwords.waits)
        for labels, count in self._parts.mails.items():
            yield Sample("mails", labels, count)
        for name, queues in self._queues.seen.items():
            yield Sample("mails_waiting", (name,), queues.mails)
            yield Sample("mails_oldest_seconds", (name,), queues.oldest_mail / 1000)
            yield Sample("uploads_waiting", (name,), queues.uploads)


def _of_process() -> Iterator[Sample]:
    yield Sample("build_info", _BUILD, 1)
    yield Sample("uptime_seconds", (), time.monotonic() - _BEGUN)
    yield Sample("processes", (), 1)
    yield Sample("process_cpu_seconds", (), time.process_time())
    with suppress(OSError):  # only Linux has it
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        yield Sample("process_resident_bytes", (), pages * os.sysconf("SC_PAGE_SIZE"))


def _of_requests(tally: Tally) -> Iterator[Sample]:
    for (route, method, status), count in tally.requests.items():
        yield Sample("requests", (route, method, str(status)), count)
    for route, seconds in tally.seconds.items():
        yield histogram("request_seconds", (route,), seconds)
    for error, count in tally.refusals.items():
        yield Sample("refusals", (error,), count)
    yield Sample("log_lines_dropped", (), tally.lines_dropped)
    for name, realm in tally.realms.items():
        yield from _of_realm(name, realm)


def _of_realm(name: str, realm: OfRealm) -> Iterator[Sample]:
    for family, counted in _OF_REALMS.items():
        yield Sample(family, (name,), getattr(realm, counted))


def _of_realms(realms: Realms) -> Iterator[Sample]:
    served = len(list(realms))
    yield Sample("realms", ("served",), served)
    yield Sample("realms", ("closed",), len(realms.names) - served)
    yield Sample("connections_most", (), realms.budget.size)
    for pool in realms.pools:
        if not pool.counts["calls"]:
            continue  # of whose database nothing is known yet
        name = pool.realms[0]
        yield Sample("transactions", (name,), pool.counts["calls"])
        for event in ("retried", "given_up", "lost", "unanswered", "turned_away"):
            yield Sample("transaction_events", (name, event), pool.counts[event])
        yield Sample("connections", (name, "busy"), pool.turns)
        yield Sample("connections", (name, "idle"), pool.idle)
        yield Sample("calls_waiting", (name,), len(pool.waiting))
        yield Sample("database_answers", (name,), int(pool.answers))
