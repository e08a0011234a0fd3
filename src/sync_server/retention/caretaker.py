"""The caretaker: prunes the realms of a server now and then, one after the other, whichever of its processes gets to it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import NoReturn

import structlog

from sync_server import fingerprints
from sync_server.config import Config
from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.keys import Keys
from sync_server.mail import failures, outbox
from sync_server.realms import Realm, Realms
from sync_server.retention import pruning

log = structlog.get_logger()

HOUR = 3600.0
_DAY = 24 * HOUR
"""Seconds between looks into a realm that nobody uses: its database is left alone."""
_TICK = 10.0
_ROUND = 300.0
"""Seconds that a round in one realm may take; what is left then waits for the next."""
_LEASE = 900_000
"""Milliseconds after which another process takes the work of one that has died."""


class Caretaker:
    """Every process of a server has one. The database says whose turn it is; doing the same twice would do no harm."""

    def __init__(self, config: Config, realms: Realms, keys: Keys) -> None:
        self._realms = realms
        self._keys = keys
        self._outbox = config.data_dir / "outbox"
        self._outbox_days = config.email.outbox_days
        self.due: dict[str, float] = {}
        """By realm, the time of its next round, by the monotonic clock; that of the outbox under the empty name."""
        self._used: set[str] = set()

    def note_use(self, realm: Realm) -> None:
        """The realm has got a call: there may be something to prune in an hour."""
        if realm.name not in self._used:
            self._used.add(realm.name)
            soon = time.monotonic() + _about(HOUR)
            self.due[realm.name] = min(soon, self.due.get(realm.name, soon))

    async def run(self) -> NoReturn:
        """Prune what is due, until cancelled."""
        while True:
            await asyncio.sleep(_about(_TICK))
            for realm in self._realms:
                due = self.due.setdefault(realm.name, time.monotonic() + _about(_DAY))
                if time.monotonic() >= due:
                    await self.visit(realm)
            if time.monotonic() >= self.due.setdefault("", time.monotonic() + _about(HOUR)):
                self.due[""] = time.monotonic() + _about(HOUR)
                await asyncio.to_thread(outbox.clear, self._outbox, self._outbox_days)

    async def visit(self, realm: Realm) -> None:
        """A round in one realm, whatever comes of it."""
        self._used.discard(realm.name)
        self.due[realm.name] = time.monotonic() + _about(_DAY)
        try:
            await prune(realm)
            # last: a role may have been given no right to this newer table
            await fingerprints.leave(realm, await asyncio.to_thread(lambda: self._keys.fingerprint))
        except Unavailable:
            log.warning("prune_unavailable", realm=realm.name)
        except Exception as exc:  # noqa: BLE001 - the other realms' turn must come all the same
            log.error("prune_fault", realm=realm.name, error=failures.place(exc))


async def prune(realm: Realm) -> Counter[str]:
    """A round in one realm, unless another process has just had one or is at it; how much was removed."""
    claim = {"chore": "prune", "lease": _LEASE}
    if not await realm.transact(lambda tx: tx.execute("claim_chore", claim)):
        return Counter()
    begun = time.monotonic()
    removed = await pruning.prune(realm, pruning.ages(realm.settings.retention), begun + _ROUND)
    await realm.transact(_finished)
    if +removed:
        log.info("pruned", realm=realm.name, seconds=round(time.monotonic() - begun, 1), **+removed)
    return removed


async def _finished(tx: Tx) -> None:
    await tx.execute("finish_chore", {"chore": "prune", "pause": round(HOUR * 1000 / 2)})


def _about(seconds: float) -> float:
    """So that processes do not do their work in step."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
