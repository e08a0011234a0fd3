"""Changes that were kept aside because they broke a limit: looked at, restored where it now allows them, or dismissed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sync_server.database import Tx
from sync_server.limits import Limits
from sync_server.stored import restoring
from sync_server.stored.refusals import ChangeNotFound, ChangeNotKept, StillUnstorable
from sync_server.stored.restoring import Restored
from sync_server.stored.versions import RowKey
from sync_server.sync import aside, protocol

_LAST = UUID(int=(1 << 128) - 1)
_EVER = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


class Aside(NamedTuple):
    """A change that is kept aside. `complete`: whether the change itself is."""

    id: UUID
    user_id: UUID
    email: str
    space_id: UUID
    client_id: UUID
    client_details: str | None
    received_at: datetime
    reason: str
    detail: str
    most: int | None
    bytes: int
    preview: str | None
    complete: bool
    settled: str | None
    settled_at: datetime | None


async def page(
    tx: Tx,
    user_id: UUID | None,
    after: tuple[datetime, UUID] | None,
    fetch: int,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    also_settled: bool = False,
) -> Sequence[Aside]:
    """Up to `fetch` changes behind the place `after` (when it was received, id), the newest first."""
    received_at, identity = after or (_EVER[1], _LAST)
    place = {"received_at": received_at, "after_id": identity, "fetch": fetch, "id": None}
    filters = {"user_id": user_id, "since": since or _EVER[0], "until": until or _EVER[1], "also_settled": also_settled}
    return await tx.all(Aside, "changes_aside", {**place, **filters})


async def one(tx: Tx, identity: UUID) -> tuple[Aside, str | None]:
    """A change, and its text as the device sent it where it is kept. Raises ChangeNotFound."""
    place = {"received_at": _EVER[1], "after_id": _LAST, "fetch": 1, "id": identity}
    filters = {"user_id": None, "since": _EVER[0], "until": _EVER[1], "also_settled": True}
    found = await tx.one(Aside, "changes_aside", {**place, **filters})
    if found is None:
        raise ChangeNotFound
    return found, await aside.change(tx, identity)


async def restore(tx: Tx, identity: UUID, limits: Limits, *, by: UUID, full_history: bool) -> tuple[RowKey, Restored]:
    """Store the change as a new one that all devices receive, as far as the realm's limits now allow it.

    Raises ChangeNotFound, ChangeNotKept, StillUnstorable.
    """
    kept, text = await one(tx, identity)
    if text is None:
        raise ChangeNotKept
    push = protocol.decode_push(b'{"changes":[%b]}' % text.encode(), kept.client_id, limits)
    if push.unstorable:
        raise StillUnstorable(push.unstorable[0].detail)
    [change] = push.changes
    row = RowKey(kept.space_id, change.tablename, change.rowguid)
    await restoring.lock(tx, row.space_id)
    row_data = None if change.row_data is None else bytes(change.row_data).decode()
    restored = await restoring.put(tx, row, row_data, by=by, full_history=full_history)
    await tx.execute("settle_aside", {"id": identity, "settled": "restored"})
    return row, restored


async def dismiss(tx: Tx, identity: UUID) -> bool:
    """Settle a change without doing anything; it stays. False where it was so. Raises ChangeNotFound."""
    await one(tx, identity)
    return bool(await tx.execute("settle_aside", {"id": identity, "settled": "dismissed"}))
