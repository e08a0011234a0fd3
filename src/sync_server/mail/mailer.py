"""The mailer: a courier for every realm."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from sync_server.config import Config
from sync_server.keys import Keys
from sync_server.mail.courier import Courier, Outcomes
from sync_server.mail.messages import Writer
from sync_server.mail.pace import PACE, Pace
from sync_server.realms import Realm, Realms

_SPREAD = 0.1
"""Seconds per realm over which the first look into all the queues is spread."""


class Mailer:
    """Sends the mails that wait in the realms' queues. Every process of a server has one.

    A mail goes out at least once, and with any luck exactly once: see `courier`. Realms do not wait for each other; one
    without mails in sight has no task.
    """

    def __init__(self, config: Config, realms: Realms, keys: Keys, pace: Pace = PACE) -> None:
        self._config = config
        self._realms = realms
        self._writer = Writer(config, keys)
        self._pace = pace
        self._couriers: dict[Realm, Courier] = {}
        self._under_way: dict[Courier, asyncio.Task[None]] = {}
        self.outcomes: Outcomes = Counter()
        """What became of mails since the start."""

    async def run(self) -> None:
        """Send mails until cancelled, and then end those under way, for a few seconds. Close the realms afterwards."""
        self.replace()
        try:
            await asyncio.Event().wait()
        finally:
            under_way = list(self._under_way.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def wake(self, realm: Realm) -> None:
        """Send what waits in the realm's queue now, without making the caller wait. Call it after the commit."""
        courier = self._couriers.get(realm) or self._new(realm)
        courier.wake()
        self._start(courier, 0)

    def replace(self) -> None:
        """Look into the queues of realms that are new or have another database, over some time; leave others alone."""
        realms = list(self._realms)
        for realm in self._couriers.keys() - set(realms):
            courier = self._couriers.pop(realm)
            if courier in self._under_way:
                self._under_way[courier].cancel()
        new = [realm for realm in realms if realm not in self._couriers]
        for realm in new:
            self._start(self._new(realm), random.uniform(0, _SPREAD * len(new)))  # noqa: S311 - no secret

    def _new(self, realm: Realm) -> Courier:
        self._couriers[realm] = Courier(self._config, realm, self._writer, self._pace, self.outcomes)
        return self._couriers[realm]

    def _start(self, courier: Courier, delay: float) -> None:
        if courier in self._under_way and not self._under_way[courier].done():
            return
        task = asyncio.create_task(courier.run(delay))
        self._under_way[courier] = task
        task.add_done_callback(lambda _: self._end(courier, task))

    def _end(self, courier: Courier, task: asyncio.Task[None]) -> None:
        if self._under_way.get(courier) is task:
            del self._under_way[courier]
