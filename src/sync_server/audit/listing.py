"""Looking into the audit log: lines and changes of rows, the last ones first, page by page along an index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sync_server.audit.chain import BUCKETS
from sync_server.database import Tx
from sync_server.realms import Realm

_LAST = 2**63 - 1
_LAST_ID = UUID(int=2**128 - 1)
_LONG = 64 * 1024
"""Bytes above which a list has no values."""
_PAGE = 200
_BYTES = 100
"""Rows that an export reads at a time, as each may be large."""


class Wanted(NamedTuple):
    """Which lines: from `since` on and before `until`, in ms since the epoch."""

    since: int = 0
    until: int = _LAST
    user_id: UUID | None = None
    """Who did it."""
    entity: str | None = None
    entity_id: str | None = None
    action: str | None = None


class Place(NamedTuple):
    """Of a line in the order of the list."""

    at: int
    chain_id: UUID
    number: int


class Entry(NamedTuple):
    """A line as it is shown. `content`: JSON with `old` and `new`, None for a push and where it was erased."""

    chain_id: UUID
    number: int
    at: int
    action: str
    entity: str
    entity_id: str
    stamp: int | None
    changes: int | None
    user_id: UUID | None
    email: str | None
    realm: str | None
    role: str | None
    client_id: UUID | None
    via: str
    address: str | None
    request_id: str | None
    content: str | None
    erased: bool
    hash: str

    @property
    def place(self) -> Place:
        return Place(self.at, self.chain_id, self.number)


class RowsWanted(NamedTuple):
    """Which changes of rows, as Wanted."""

    since: int = 0
    until: int = _LAST
    user_id: UUID | None = None
    tablename: str | None = None
    rowguid: str | None = None


class RowPlace(NamedTuple):
    at: int
    chain_id: UUID
    number: int
    ordinal: int


class RowChange(NamedTuple):
    """Who changed a row, and how. Values are JSON; None where there is none, it is no longer known, or it is long."""

    chain_id: UUID
    number: int
    ordinal: int
    at: int
    user_id: UUID
    email: str | None
    client_id: UUID | None
    address: str | None
    request_id: str | None
    operation: str
    tablename: str
    rowguid: str
    client_date: int
    new: str | None
    old: str | None
    new_bytes: int
    old_bytes: int

    @property
    def place(self) -> RowPlace:
        return RowPlace(self.at, self.chain_id, self.number, self.ordinal)


class PushedChange(NamedTuple):
    """A change of a push, with what was there before."""

    stamp: int
    ordinal: int
    operation: str
    client_date: int
    tablename: str
    rowguid: str
    row_data: str | None
    old_stamp: int | None
    old_ordinal: int | None
    old_data: str | None


async def page(tx: Tx, wanted: Wanted, after: Place | None, rows: int) -> Sequence[Entry]:
    """The next lines after a place."""
    place = after or Place(_LAST, _LAST_ID, _LAST)
    if wanted.user_id is not None:
        name = "audit_lines_by_user"
    elif wanted.entity_id is not None:
        name = "audit_lines_by_entity"
    else:
        name = "audit_lines_by_time"
    return await tx.all(
        Entry, name, {**wanted._asdict(), **_after(place), "rows": rows, "buckets": list(range(BUCKETS))}
    )


async def changes(tx: Tx, wanted: RowsWanted, after: RowPlace | None, rows: int) -> Sequence[RowChange]:
    """The next changes of rows after a place."""
    place = after or RowPlace(_LAST, _LAST_ID, _LAST, 2**31 - 1)
    limits = {"rows": rows, "buckets": list(range(BUCKETS)), "most": _LONG, "after_ordinal": place.ordinal}
    name = "audited_changes" if wanted.user_id is None else "audited_changes_by_user"
    return await tx.all(RowChange, name, {**wanted._asdict(), **_after(place), **limits})


async def line(tx: Tx, chain_id: UUID, number: int) -> Entry | None:
    """One line."""
    return await tx.one(Entry, "audit_line", {"chain_id": chain_id, "number": number})


async def every(realm: Realm, wanted: Wanted) -> AsyncIterator[Entry]:
    """All lines that are wanted; each page is a statement of its own."""
    after: Place | None = None
    while found := await realm.read(lambda tx, place=after: page(tx, wanted, place, _PAGE)):  # type: ignore[misc]
        for entry in found:
            yield entry
        after = found[-1].place


async def of_push(realm: Realm, entry: Entry) -> AsyncIterator[PushedChange]:
    """What a push changed, with all values that are still there."""
    after = -1
    while True:
        parameters = {"space_id": entry.chain_id, "stamp": entry.stamp, "after": after, "rows": _BYTES}
        found = await realm.read(lambda tx, given=parameters: tx.all(PushedChange, "changes_of_push", given))  # type: ignore[misc]
        for change in found:
            yield change
        if len(found) < _BYTES:
            return
        after = found[-1].ordinal


def _after(place: Place | RowPlace) -> dict[str, Any]:
    return {"after_at": place.at, "after_chain": place.chain_id, "after_number": place.number}
