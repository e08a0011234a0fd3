"""Devices as an operator sees them: when they synced, how far behind they are, and what troubles them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sync_server.database import Tx
from sync_server.stored.refusals import DeviceNotFound

MOST_BEHIND = 1000
_LOOK, _LOOKS = 200, 10
"""Devices that are looked at for those in trouble: at a time, and how often for a page."""
_LOWEST = UUID(int=0)
_NEVER = -1


Place = tuple[int, UUID]


class Wanted(msgspec.Struct, frozen=True):
    """Which devices; None lets everything pass. `before`: not synced since, ms since the epoch."""

    user_id: UUID | None = None
    before: int | None = None
    search: str | None = None
    """A part of what the device says of itself, or of the user's address, in any case."""

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "user_id": self.user_id,
            "before": self.before,
            "search": self.search.lower() if self.search else None,
            "id": None,
        }


class Device(NamedTuple):
    """A client. Times are ms since the epoch; `behind` is counted up to MOST_BEHIND, `took` in ms; `abandoned`: its sync
    under way began more than two minutes ago; `silent`: nothing was heard of it for a week.
    """

    id: UUID
    user_id: UUID
    email: str
    active: bool
    details: str
    created_at: datetime
    last_sync: int | None
    signed_in: bool
    sync_started: int | None
    abandoned: bool
    silent: bool
    seen: int | None
    pulled_at: int | None
    pulled: int | None
    synced_at: int | None
    pushed: int | None
    took: int | None
    error_at: int | None
    error: str | None
    error_call: str | None
    uploads: int
    kept_aside: int
    behind: int

    @property
    def place(self) -> Place:
        """Where it stands in lists."""
        return self.last_sync or 0, self.id

    @property
    def trouble(self) -> str | None:
        """Why it does not sync, as far as the server knows: None where nothing is wrong."""
        if not self.active:
            return "user_locked"
        if self.error is not None and (self.error_at or 0) > (self.last_sync or 0):
            return self.error
        if self.last_sync is None and self.sync_started is None:
            return "never_synced"
        if not self.signed_in:
            return "signed_out"
        synced = max(self.last_sync or 0, self.synced_at or 0)
        if self.abandoned or ((self.pulled_at or 0) > synced and self.sync_started is None):
            return "unfinished"
        return "silent" if self.silent else None


async def page(tx: Tx, wanted: Wanted, after: Place | None, fetch: int) -> Sequence[Device]:
    """Up to `fetch` devices behind a place (last_sync or 0, id), those first that have not synced for longest."""
    synced, identity = after or (_NEVER, _LOWEST)
    return await tx.all(
        Device, "devices", {**wanted.parameters, "synced": synced, "after_id": identity, "fetch": fetch}
    )


async def troubled(tx: Tx, wanted: Wanted, after: Place | None, limit: int) -> tuple[list[Device], Place | None]:
    """Up to `limit` devices that something is wrong with, and from where to go on, None at the end.

    Behind the place `after`, as `page`; so many devices are looked at, so there may be fewer, or none, before the end.
    """
    found: list[Device] = []
    for _ in range(_LOOKS):
        looked_at = await page(tx, wanted, after, _LOOK)
        for device in looked_at:
            after = device.place
            if device.trouble is not None:
                found.append(device)
            if len(found) == limit:
                return found, after
        if len(looked_at) < _LOOK:
            return found, None
    return found, after


async def count(tx: Tx, wanted: Wanted) -> int:
    """How many there are on all pages."""
    found: int = await tx.value("count_devices", wanted.parameters)
    return found


async def one(tx: Tx, client_id: UUID) -> Device:
    """Raises DeviceNotFound."""
    place = {"id": client_id, "synced": _NEVER, "after_id": _LOWEST, "fetch": 1}
    found = await tx.one(Device, "devices", {**Wanted().parameters, **place})
    if found is None:
        raise DeviceNotFound
    return found


async def stop_sync(tx: Tx, client_id: UUID) -> bool:
    """End the sync under way; False where there was none. Nothing is lost: the device begins anew. Raises DeviceNotFound."""
    await one(tx, client_id)
    return bool(await tx.execute("stop_sync", {"client_id": client_id}))


async def sign_out(tx: Tx, client_id: UUID) -> None:
    """Void its tokens. It signs in again by itself where the password that it stores is right. Raises DeviceNotFound."""
    if not await tx.execute("sign_out_device", {"client_id": client_id}):
        raise DeviceNotFound


async def remove(tx: Tx, client_id: UUID) -> bool:
    """Forget the device; False where there was none. What it has synced stays; it has to register again."""
    return bool(await tx.execute("remove_device", {"client_id": client_id}))
