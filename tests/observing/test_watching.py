"""Calls are counted together, a moment after they have ended, and before anybody looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from postgres import realm_at
from sync_server.accounts.passwords import Passwords
from sync_server.config import Config, Database, Tracing
from sync_server.mail.courier import Outcomes
from sync_server.observing import watching
from sync_server.observing.lines import Lines
from sync_server.observing.metrics import Metrics, Parts
from sync_server.observing.tally import Tally
from sync_server.observing.watching import Watch
from sync_server.realms import Realms
from sync_server.reports import Reports

ROUTE = "/pull/{realm_name}"
SCOPE: Any = {"type": "http", "method": "POST", "headers": [], "client": None, "path_template": ROUTE}


class Process(NamedTuple):
    """What watches a server that has no database."""

    tally: Tally
    reports: Reports
    metrics: Metrics
    watch: Watch

    def call(self) -> None:
        call = self.watch.begin(SCOPE)
        call.status, call.complete, call.realm = 200, True, "gone"
        self.watch.end(call, SCOPE)

    @property
    def counted(self) -> int:
        return self.tally.requests[ROUTE, "POST", 200]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(watching, "_PAUSE", 3600.0)
    url = "postgresql://127.0.0.1:1/nowhere"
    realms = Realms(Config(Database({"todos": realm_at(url)})), {"todos": url})
    tally, reports = Tally(), Reports(realms)
    metrics = Metrics(Parts(tally, realms, Passwords(4), Outcomes()), None)
    return Process(tally, reports, metrics, Watch(tally, Lines("none"), reports, Tracing()))


def test_calls_are_counted_after_a_moment(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_PAUSE", 0.01)

    async def live() -> None:
        process.call()
        process.call()
        assert process.counted == 0
        await until(lambda: process.counted == 2)
        process.call()
        await until(lambda: process.counted == 3)

    asyncio.run(live())


async def until(counted: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not counted():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)


def test_many_calls_are_counted_at_once(process: Process) -> None:
    async def live() -> None:
        for _ in range(watching._MOST):  # noqa: SLF001
            process.call()
        assert process.counted == watching._MOST  # noqa: SLF001

    asyncio.run(live())


def test_whoever_looks_sees_what_has_ended(process: Process) -> None:
    async def live() -> None:
        process.call()
        text, _ = await process.metrics.text("")
        assert f'requests_total{{method="POST",route="{ROUTE}",status="200"}} 1.0'.encode() in text

    asyncio.run(live())


def test_a_report_tells_of_what_has_ended(process: Process) -> None:
    async def live() -> None:
        process.call()
        await process.reports.report()  # of a realm that is gone meanwhile
        assert process.counted == 1
        assert not process.reports.waiting

    asyncio.run(live())


def test_the_last_calls_are_counted_at_the_end(process: Process) -> None:
    async def live() -> None:
        process.call()
        await process.watch.close()
        assert process.counted == 1

    asyncio.run(live())
