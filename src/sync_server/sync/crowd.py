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
from sync_server.sync.engine import TAKEOVER

_RETRY_AFTER = 10


class _Counted(NamedTuple):
    others: int


async def check(realm: Realm, device: Device) -> None:
    """Raises TooManySyncs when other clients have as many syncs under way as the realm takes.

    While there is much room for more, they are counted once a second.
    """
    most = realm.settings.limits.syncs
    if realm.room.suffices(most):
        return
    others = await realm.read_together(_count, device)
    realm.room.note(others)
    if others >= most:
        raise TooManySyncs(retry_after=_RETRY_AFTER, limit=Limit("limits.syncs", most))


async def _count(tx: Tx, devices: Sequence[Device]) -> Sequence[int]:
    """Of the other clients, for each of the devices."""
    asking = {"takeover": TAKEOVER, "client_ids": [device.client_id for device in devices]}
    return [found.others for found in await tx.all(_Counted, "count_syncs", asking)]
