"""Changes that cannot be stored as rows: kept aside for the operator, so that they do not hold up a device's sync for good.

sync_client cannot be changed, and sends what it has until it is acknowledged. So one row that breaks a rule must not be what
all of its other rows wait for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sync_server.accounts.tokens import Device
from sync_server.database import Tx
from sync_server.sync.protocol import Unstorable


class Kept(NamedTuple):
    """A line of the list. `complete`: whether the change itself is kept; it is not where the user's share is used up."""

    id: UUID
    email: str
    client_id: UUID
    received_at: datetime
    reason: str
    detail: str
    most: int | None
    bytes: int
    complete: bool
    settled: str | None
    """What an operator did with it: restored, dismissed."""
    settled_at: datetime | None


async def keep(tx: Tx, device: Device, changes: Sequence[Unstorable], share: int) -> None:
    """Record changes, each once however often it is pushed (G5); beyond `share` bytes per user without the change itself."""
    columns = {
        "ids": [_identity(device, change) for change in changes],
        "reasons": [change.reason for change in changes],
        "details": [change.detail for change in changes],
        "mosts": [change.most for change in changes],
        "texts": [change.text for change in changes],
    }
    await tx.execute("keep_aside", {**device.parameters, **columns, "share": share})
    await tx.execute("note_error", {**device.parameters, "error": f"kept aside: {summary(changes)}"})


def summary(changes: Sequence[Unstorable]) -> str:
    """How many there are of each reason, without a word of what is in them."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(Counter(c.reason for c in changes).items()))


def _identity(device: Device, change: Unstorable) -> UUID:
    return UUID(bytes=hashlib.sha256(device.client_id.bytes + change.text.encode()).digest()[:16])


async def kept(tx: Tx, *, also_settled: bool) -> Sequence[Kept]:
    """What is kept, in the order in which it came. `also_settled`: what an operator has restored or dismissed, too."""
    return await tx.all(Kept, "kept_aside_list", {"also_settled": also_settled})


async def change(tx: Tx, identity: UUID) -> str | None:
    """A change as the device sent it; None where it is not kept."""
    text: str | None = await tx.value("kept_aside_change", {"id": identity})
    return text
