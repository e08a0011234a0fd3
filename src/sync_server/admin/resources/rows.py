"""`/realms/{realm}/rows`: what is stored, and its history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Page, Success
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.admin.shapes import OfTable, Since, Somebody, State, Until, between, by, raw, somebody, time_of
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.realms import Realm
from sync_server.stored import rows, versions
from sync_server.stored.rows import Wanted
from sync_server.stored.versions import RowKey

_ONE = "/realms/{realm_name:str}/rows/{row_id:str}"


class Deleted(msgspec.Struct):
    """What a row said when it was deleted. With the `id` it can be read in full, and restored."""

    id: str
    bytes: int
    preview: str | None


class Row(msgspec.Struct):
    """A row of the realm, and its current version. `id` is for this API; `rowguid` is the app's key.
    `deleted`: of a deleted row what was deleted, as long as it is kept.
    """

    id: str
    user: Somebody | None
    table: str
    rowguid: str
    version: State
    deleted: Deleted | None


class Recorded(msgspec.Struct):
    """A version in the history. `complete`: whether its data is kept, so that it can be restored.
    `deleted`: of a delete what was deleted, as long as it is kept.
    """

    id: str
    version: State
    user_id: UUID
    complete: bool
    deleted: Deleted | None


class Kept(msgspec.Struct):
    """A version that lost a conflict, or that an operator replaced. `settled`: `restored`, `dismissed`, `replaced`, or null:
    nobody has looked at it.
    """

    id: UUID
    version: State
    settled: str | None
    settled_at: datetime | None


class FullRow(msgspec.Struct):
    """All that is known of a row. `current` is null where nothing is stored (any more). `data`: the current data.
    `deleted`: of a deleted row what was deleted, as long as it is kept.
    """

    id: str
    user: Somebody | None
    table: str
    rowguid: str
    current: State | None
    data: Any
    deleted: Deleted | None
    overridden: list[Kept]
    """The newest 200."""


class FullVersion(msgspec.Struct):
    """An earlier version. `data` is null for a row that was gone, and where the data is not kept.
    `at` of what was deleted is when it was deleted.
    """

    id: str
    operation: str
    at: datetime | None
    client_date: datetime | None
    complete: bool
    data: Any


@get("/realms/{realm_name:str}/rows", opt=needs(Role.VIEWER), tags=["rows"])
async def list_rows(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    user: Annotated[UUID | None, QueryParameter(description="Only rows of this user, by id")] = None,
    table: OfTable = None,
    search: Annotated[
        str | None, QueryParameter(max_length=255, description="A part of the row's key or data, in any case")
    ] = None,
    deleted: Annotated[bool | None, QueryParameter(description="Only rows that are deleted, or that are not")] = None,
    since: Since = None,
    until: Until = None,
) -> Page[Row]:
    """Browse rows: user by user, of each the latest change first.

    A page looks at 2,000 rows at most; where few of them match it has fewer than `limit`, or none, and `next` goes on.
    """
    begin, end = between(since, until)
    text = storable(search, "search") if search else None
    wanted = Wanted(user, storable(table, "table") if table is not None else None, text, deleted, begin, end)
    after = paging.after(tuple[UUID, int, int])
    found, following = await realm.read(lambda tx: rows.browse(tx, wanted, after, paging.limit))
    return paging.part([_row(row) for row in found], following)


@get(_ONE, opt=needs(Role.VIEWER), tags=["rows"])
async def get_row(realm: NamedDependency[Realm], row_id: FromPath[str]) -> Response[Success[FullRow]]:
    """One row with its data and its overridden versions. The `ETag` is for restoring only what one has looked at."""
    key = RowKey.of_id(row_id)

    async def look(tx: Tx) -> FullRow:
        stored, overridden = await rows.one(tx, key)
        owner = await rows.owner(tx, key.space_id)
        kept = [Kept(line.id, _state(line), line.settled, line.settled_at) for line in overridden]
        user = None if owner is None else Somebody(*owner)
        if stored is None:
            return FullRow(key.id, user, key.tablename, key.rowguid, None, None, None, kept)
        current, data = _stored(stored), raw(stored.row_data)
        return FullRow(key.id, user, key.tablename, key.rowguid, current, data, _deleted(stored), kept)

    found = await realm.transact(look)
    return Response(Success(found), headers={"ETag": _etag(found.current.stamp if found.current else 0)})


@get(f"{_ONE}/history", opt=needs(Role.VIEWER), tags=["rows"])
async def get_history(
    realm: NamedDependency[Realm], paging: NamedDependency[Paging], row_id: FromPath[str]
) -> Page[Recorded]:
    """The row's history, the latest change first.

    A page looks at 50,000 changes of the user's rows at most; where few are of this row it is short, and `next` goes on.
    """
    key, after = RowKey.of_id(row_id), paging.after(tuple[int, int])
    found, following = await realm.read(lambda tx: rows.history(tx, key, after, paging.limit))
    shown = [
        Recorded(
            versions.recorded_name(line.stamp, line.ordinal),
            _state(line),
            line.user_id,
            line.complete or line.operation == "D",
            _deleted(line),
        )
        for line in found
    ]
    return paging.part(shown, following)


@get(f"{_ONE}/versions/{{version:str}}", opt=needs(Role.VIEWER), tags=["rows"])
async def get_version(
    realm: NamedDependency[Realm], row_id: FromPath[str], version: FromPath[str]
) -> Success[FullVersion]:
    """An earlier, overridden or deleted version with its data, by its `id`."""
    key = RowKey.of_id(row_id)
    found = await realm.read(lambda tx: versions.find(tx, key, version))
    dates = time_of(found.stamp), time_of(found.client_date)
    return Success(FullVersion(version, found.operation, *dates, found.complete, raw(found.row_data)))


def _etag(stamp: int) -> str:
    return f'"{stamp}"'


def _row(row: rows.Found) -> Row:
    key = RowKey(row.space_id, row.tablename, row.rowguid)
    return Row(key.id, somebody(row.user_id, row.email), row.tablename, row.rowguid, _state(row), _deleted(row))


def _deleted(line: rows.Found | rows.Stored | rows.Recorded) -> Deleted | None:
    if line.deleted_bytes is None:
        return None
    return Deleted(versions.deleted_name(line.stamp, line.ordinal), line.deleted_bytes, line.deleted_preview)


def _state(line: rows.Found | rows.Overridden | rows.Recorded) -> State:
    dates = time_of(line.stamp), time_of(line.client_date)
    return State(line.operation, *dates, line.stamp, by(line.client_id, line.client_details), line.bytes, line.preview)


def _stored(line: rows.Stored) -> State:
    data = line.row_data or ""
    dates = time_of(line.stamp), time_of(line.client_date)
    device = by(line.client_id, line.client_details)
    return State(line.operation, *dates, line.stamp, device, len(data.encode()), data[:200] or None)


ROUTES = [list_rows, get_row, get_history, get_version]
