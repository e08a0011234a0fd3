"""How many syncs of a realm may be under way at once, counted in the database by all instances together.

A sync is under way from its pull to the end of its push or its cancelSync; without either it is abandoned after two minutes.
"""

from __future__ import annotations

from sync_server.accounts.tokens import Device
from sync_server.errors import TooManySyncs
from sync_server.limits import Limit
from sync_server.realms import Realm
from sync_server.sync.engine import TAKEOVER

_RETRY_AFTER = 10


async def check(realm: Realm, device: Device) -> None:
    """Raises TooManySyncs when other clients have as many syncs under way as the realm takes."""
    most = realm.settings.limits.syncs
    parameters = {"takeover": TAKEOVER, "client_id": device.client_id}
    if await realm.read(lambda tx: tx.value("count_syncs", parameters)) >= most:
        raise TooManySyncs(retry_after=_RETRY_AFTER, limit=Limit("limits.syncs", most))
