"""Versions that lost a conflict, beside those that won; restored or dismissed by an operator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sync_server.database import Tx
from sync_server.stored import rows, versions
from sync_server.stored.refusals import VersionNotFound
from sync_server.stored.rows import ALWAYS, Wanted
from sync_server.stored.versions import RowKey

_LAST = UUID(int=(1 << 128) - 1)


class Conflict(NamedTuple):
    """A version that lost, and what is stored now (`stored_operation` None: nothing). Previews: how the data begins."""

    space_id: UUID
    tablename: str
    rowguid: str
    id: UUID
    operation: str
    client_date: int
    client_id: UUID
    stamp: int
    bytes: int
    preview: str | None
    client_details: str | None
    settled: str | None
    settled_at: datetime | None
    user_id: UUID | None
    email: str | None
    stored_operation: str | None
    stored_client_date: int | None
    stored_client_id: UUID | None
    stored_stamp: int | None
    stored_bytes: int
    stored_preview: str | None
    stored_client_details: str | None

    @property
    def row(self) -> RowKey:
        return RowKey(self.space_id, self.tablename, self.rowguid)


async def page(
    tx: Tx, wanted: Wanted, after: tuple[int, UUID] | None, fetch: int, *, also_settled: bool = False
) -> Sequence[Conflict]:
    """Up to `fetch` conflicts behind the place `after` (stamp, id), the newest first. Raises UserNotFound."""
    of = await rows.spaces(tx, wanted.user_id)
    stamp, identity = after or (ALWAYS[1], _LAST)
    place = {"stamp": stamp, "id": identity, "fetch": fetch}
    filters = {"tablename": wanted.tablename, "since": wanted.since, "until": wanted.until}
    statement = "all_conflicts" if also_settled else "open_conflicts"
    return await tx.all(Conflict, statement, {**of._asdict(), **place, **filters})


async def one(tx: Tx, row: RowKey, name: str) -> Conflict:
    """A version that lost, whether or not it is settled. Raises VersionNotFound."""
    found = await tx.one(Conflict, "one_conflict", {**row._asdict(), "id": versions.overridden_id(name)})
    if found is None:
        raise VersionNotFound
    return found


async def dismiss(tx: Tx, row: RowKey, name: str) -> bool:
    """Settle a conflict without doing anything; the version stays. False where it was so. Raises VersionNotFound."""
    identity = versions.overridden_id(name)
    if await tx.execute("settle_overridden", {**row._asdict(), "id": identity, "settled": "dismissed"}):
        return True
    if await tx.one(versions.Version, "overridden_version", {**row._asdict(), "id": identity}) is None:
        raise VersionNotFound
    return False
