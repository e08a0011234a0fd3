"""What devices do, gathered in the process and added to the database every few seconds: a row per device, sums by the hour.

No call waits for it, nor takes a statement more. What a process that is killed has not reported yet is not counted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog

from sync_server.errors import Refusal, UnknownRealm
from sync_server.mail import failures
from sync_server.observing import Call
from sync_server.realms import Realm, Realms

log = structlog.get_logger()

PAUSE = 5.0
"""Seconds between reports."""
_MOST = 20_000
"""Devices of a realm that a report tells of; further ones wait for the next."""
_END = 2.0
"""Seconds that the last reports get."""
HOURS = {"hour_starts": [n * 3_600_000 for n in range(24)], "hour_bits": [1 << n for n in range(24)]}
"""A day's hours: when they begin, in ms, and the bits that stand for them."""
_CALLS = {"login": "login", "pull": "pull", "push": "push", "cancelSync": "cancel"}
"""The calls that tell something of a device, by the first part of their path, and as the status names them."""
_DONE = 200
_NOTHING: Mapping[str, Any] = {}


class Seen:
    """What a device did since the last report. Times are of the monotonic clock."""

    __slots__ = (
        "error",
        "error_at",
        "error_call",
        "pulled",
        "pulled_at",
        "pushed",
        "pushing",
        "seen",
        "synced_at",
        "took",
    )

    def __init__(self) -> None:
        self.seen: float | None = None
        self.pulled_at: float | None = None
        self.pulled = 0
        self.synced_at: float | None = None
        self.pushed = 0
        self.took: int | None = None
        self.pushing = 0
        """Rows of pushes since the last whole sync."""
        self.error_at: float | None = None
        self.error: str | None = None
        self.error_call: str | None = None

    def add(self, call: Call, kind: str, now: float) -> None:
        if call.device is not None:
            self.seen = now
        error = call.error or (None if call.complete else "broken_off")
        if error is not None:
            self.error_at, self.error, self.error_call = now, error, kind
        elif call.status != _DONE:
            return
        elif kind == "pull":
            self.pulled_at, self.pulled = now, call.rows_out
        elif kind == "push":
            self.pushing += call.rows_in
            if call.synced:
                self.synced_at, self.pushed, self.took = now, self.pushing, call.took
                self.pushing = 0


class _OfRealm:
    """What has not been reported yet of one realm."""

    def __init__(self) -> None:
        self.devices: dict[UUID, Seen] = {}
        self.amounts: Counter[str] = Counter()

    def parameters(self) -> dict[str, Any]:
        """Of the statement `report`."""
        now = time.monotonic()

        def ages(of: Callable[[Seen], float | None]) -> list[int | None]:
            return [None if (at := of(seen)) is None else round((now - at) * 1000) for seen in self.devices.values()]

        seen = self.devices.values()
        return {
            "client_ids": list(self.devices),
            "seen": ages(lambda each: each.seen),
            "pulled_ages": ages(lambda each: each.pulled_at),
            "pulled": [each.pulled for each in seen],
            "synced_ages": ages(lambda each: each.synced_at),
            "pushed": [each.pushed for each in seen],
            "took": [each.took for each in seen],
            "pushing": [each.pushing for each in seen],
            "error_ages": ages(lambda each: each.error_at),
            "errors": [each.error for each in seen],
            "error_calls": [each.error_call for each in seen],
            "active": [client for client, each in self.devices.items() if each.seen is not None],
            "names": list(self.amounts),
            "amounts": list(self.amounts.values()),
            **HOURS,
        }


class Reports:
    """Of one process."""

    def __init__(self, realms: Realms, pause: float = PAUSE) -> None:
        self._realms = realms
        self._pause = pause
        self.waiting: dict[str, _OfRealm] = {}
        """What the next report tells, by realm."""
        self.settle: Callable[[], object] = lambda: None
        """Adds the calls that have ended and are not added yet."""

    def add(self, call: Call, route: str | None, named: Mapping[str, Any] = _NOTHING, at: float | None = None) -> None:
        """Note a call of a device that has come to its end, `at` that time of the monotonic clock (now, if not given).

        `named`: what the path names, which counts where the call was refused before anybody looked, as with a body that is
        too large.
        """
        kind = None if route is None else _CALLS.get(route[1:].partition("/")[0])
        if kind is None:
            return
        if call.realm is None:
            self._look_at_path(call, named)
        if call.realm is None:
            return
        realm = self.waiting.get(call.realm)
        if realm is None:
            realm = self.waiting[call.realm] = _OfRealm()
        self._count(realm.amounts, call, kind)
        client = call.device.client_id if call.device is not None else call.claimed
        if client is None:
            return
        seen = realm.devices.get(client)
        if seen is None:
            if len(realm.devices) >= (_MOST if call.device is not None else _MOST // 2):
                return  # whoever makes up ids leaves room for those who prove theirs
            seen = realm.devices[client] = Seen()
        seen.add(call, kind, time.monotonic() if at is None else at)

    def _look_at_path(self, call: Call, named: Mapping[str, Any]) -> None:
        with suppress(Refusal):
            call.realm = self._realms.get(named["realm_name"]).name if "realm_name" in named else None
        with suppress(ValueError):
            call.claimed = UUID(named["client_id"]) if "client_id" in named else None

    @staticmethod
    def _count(amounts: Counter[str], call: Call, kind: str) -> None:
        amounts["calls"] += 1
        amounts["bytes_in"] += call.bytes_in
        amounts["bytes_out"] += call.bytes_out
        if call.error is not None:
            amounts["errors"] += 1
            amounts["error:" + call.error] += 1
        elif kind == "pull":
            amounts["rows_out"] += call.rows_out
        elif kind == "push":
            amounts["rows_in"] += call.rows_in
            amounts["syncs"] += call.synced
            amounts["conflicts"] += call.conflicts
            amounts["kept_aside"] += call.aside

    async def run(self) -> None:
        """Report now and then, until cancelled; then once more, for a moment."""
        try:
            while True:
                await asyncio.sleep(self._pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
                await self.report()
        finally:
            async with asyncio.timeout(_END):
                await self.report()

    async def report(self) -> None:
        """Add what there is to the databases."""
        self.settle()
        new, self.waiting = self.waiting, {}
        for name, of_realm in new.items():
            try:
                await self._report(self._realms.get(name), of_realm)
            except UnknownRealm:
                continue  # it is served no more
            except Refusal as exc:
                self._put_back(name, of_realm)
                log.warning("report_put_off", realm=name, error=exc.code)
            except Exception as exc:  # noqa: BLE001 - the other realms' turn must come all the same
                log.error("report_fault", realm=name, error=failures.place(exc))

    def _put_back(self, name: str, of_realm: _OfRealm) -> None:
        """For the next report: the realm's database does not answer."""
        newer = self.waiting.setdefault(name, _OfRealm())
        newer.amounts.update(of_realm.amounts)
        newer.devices = {**of_realm.devices, **newer.devices}

    @staticmethod
    async def _report(realm: Realm, of_realm: _OfRealm) -> None:
        parameters = of_realm.parameters()
        await realm.once(lambda tx: tx.execute("report", parameters))
