"""`/realms/{realm}/rows`: what is stored, its history, and bringing versions back."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from sync_server import audit
from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Page, Success
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.admin.sessions import Admin
from sync_server.admin.shapes import Since, Somebody, State, Until, between, by, raw, somebody, time_of
from sync_server.audit import Acting
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.realms import Realm
from sync_server.stored import restoring, rows, versions
from sync_server.stored.refusals import RowChanged
from sync_server.stored.restoring import Restored
from sync_server.stored.rows import Wanted
from sync_server.stored.versions import RowKey, Version

_ONE = "/realms/{realm_name:str}/rows/{row_id:str}"
_STAMP = re.compile(r"[0-9]{1,19}")
_AUDITED = 65_536
"""Characters of a row's data that the audit log keeps; what is longer stands in the versions alone."""
Table = Annotated[str | None, QueryParameter(max_length=255, description="Only rows of this table")]
IfMatch = Annotated[
    str | None, HeaderParameter(name="If-Match", description="The row's `ETag`: 412 where it has changed since")
]


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


class Restoration(msgspec.Struct, forbid_unknown_fields=True):
    version: Annotated[str, msgspec.Meta(min_length=2, max_length=64)]
    """The `id` of a version in the history, among the overridden ones, or of what was deleted."""


class Outcome(msgspec.Struct):
    """`changed` is false where the row said so already. `stamp`: of the row now."""

    id: str
    changed: bool
    stamp: int | None


@get("/realms/{realm_name:str}/rows", opt=needs(Role.VIEWER), tags=["rows"])
async def list_rows(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    user: Annotated[UUID | None, QueryParameter(description="Only rows of this user, by id")] = None,
    table: Table = None,
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


@post(f"{_ONE}/restore", status_code=200, opt=needs(Role.TECHNICIAN), tags=["rows"])
async def restore_row(
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    row_id: FromPath[str],
    data: JSONBody[Restoration],
    if_match: IfMatch = None,
) -> Success[Outcome]:
    """Bring a version back as a new change, which every device gets with its next sync. What it replaces is kept."""
    key, seen = RowKey.of_id(row_id), _seen(if_match)
    full = realm.settings.history == "full"

    async def restore(tx: Tx) -> Restored:
        version, restored = await restoring.restore(
            tx, key, data.version, by=admin.user_id, full_history=full, seen=seen
        )
        await note(tx, acting, "row.restore", key, restored, version.row_data, version=data.version)
        return restored

    restored = await realm.transact(restore)
    return Success(Outcome(key.id, restored.changed, restored.stamp))


async def note(
    tx: Tx, acting: Acting, action: str, row: RowKey, restored: Restored, row_data: str | None, **told: Any
) -> None:
    """The line of the audit log for a row that was restored, unless nothing changed."""
    if not restored.changed:
        return
    of = await rows.owner(tx, row.space_id)
    names = {"table": row.tablename, "rowguid": row.rowguid}
    old = {**names, **_audited(restored.before)}
    new = {**names, "stamp": restored.stamp, "data": _cut(row_data), **told}
    subject = None if of is None else of.user_id
    if restored.full and restored.stamp is not None:
        await audit.seal(tx, acting, row.space_id, restored.stamp, action="rows.restore", subject=subject)
    await audit.record(tx, acting, action=action, entity="row", entity_id=row.id, old=old, new=new, subject=subject)


def _audited(version: Version | None) -> dict[str, Any]:
    if version is None:
        return {"stamp": 0, "data": None}
    return {"stamp": version.stamp, "data": _cut(version.row_data)}


def _cut(row_data: str | None) -> str | None:
    return row_data if row_data is None or len(row_data) <= _AUDITED else f"({len(row_data)} characters)"


def _etag(stamp: int) -> str:
    return f'"{stamp}"'


def _seen(if_match: str | None) -> int | None:
    """The stamp that an If-Match names. Raises RowChanged where it is the ETag of no row."""
    if if_match is None or if_match.strip() == "*":
        return None
    digits = if_match.strip().strip('"')
    if not _STAMP.fullmatch(digits):
        raise RowChanged
    return int(digits)


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


ROUTES = [list_rows, get_row, get_history, get_version, restore_row]
