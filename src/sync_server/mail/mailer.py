"""The mailer: a courier for every realm."""

from __future__ import annotations

import asyncio
import random

from sync_server.config import Config
from sync_server.keys import Keys
from sync_server.mail.courier import Courier
from sync_server.mail.messages import Writer
from sync_server.mail.pace import PACE, Pace
from sync_server.realms import Realm, Realms

_SPREAD = 0.05
"""Seconds per realm over which the first look into all the queues is spread."""


class Mailer:
    """Sends the mails that wait in the realms' queues. Every process of a server has one.

    A mail goes out at least once, and with any luck exactly once: see `courier`. Realms do not wait for each other.
    """

    def __init__(self, config: Config, realms: Realms, keys: Keys, pace: Pace = PACE) -> None:
        writer = Writer(config, keys)
        self._couriers = {realm.name: Courier(config, realm, writer, pace) for realm in realms}

    async def run(self) -> None:
        """Send mails until cancelled, and then end the one under way, for a few seconds. Close the realms afterwards."""
        spread = _SPREAD * len(self._couriers)
        async with asyncio.TaskGroup() as couriers:
            for courier in self._couriers.values():
                couriers.create_task(courier.run(random.uniform(0, spread)))  # noqa: S311

    def wake(self, realm: Realm) -> None:
        """Send what waits in the realm's queue now, without making the caller wait. Call it after the commit."""
        self._couriers[realm.name].wake()
