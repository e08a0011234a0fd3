"""How many syncs of a realm may be under way at once, counted in the database by all instances together.

A sync is under way from its pull to the end of its push or its cancelSync; without either it is abandoned after two minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sync_server.accounts.tokens import Device
from sync_server.database import Tx
from sync_server.errors import TooManySyncs
from sync_server.limits import Limit
from sync_server.realms import Realm
from sync_server.room import Glance, Room
from sync_server.sync.engine import TAKEOVER

_RETRY_AFTER = 10


class _Counted(NamedTuple):
    others: int


async def enter(realm: Realm, device: Device) -> int:
    """Raises TooManySyncs when other clients have as many syncs under way as the realm takes; see Room.enter.

    While there is much room for more, they are counted once a second.
    """
    room, most = realm.room, realm.settings.limits.syncs
    if not room.suffices(most):
        glance, counted = await realm.read_together(_count, (room, device))
        if room.note(glance, counted, device.client_id) >= most:
            raise TooManySyncs(retry_after=_RETRY_AFTER, limit=Limit("limits.syncs", most))
    return room.enter(device.client_id)


async def _count(tx: Tx, asking: Sequence[tuple[Room, Device]]) -> Sequence[tuple[Glance, int]]:
    """Of the other clients, for each of the devices, which ask for the same room."""
    glance = asking[0][0].glance()
    parameters = {
        "takeover": TAKEOVER,
        "client_ids": [device.client_id for _, device in asking],
        "entering": list(glance.entering),
    }
    return [(glance, found.others) for found in await tx.all(_Counted, "count_syncs", parameters)]
