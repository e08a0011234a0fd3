"""`/realms/{realm}/overridden`: conflicts, with both versions side by side."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from sync_server import audit
from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Page, Success
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.admin.resources.restoring import Outcome, note
from sync_server.admin.sessions import Admin
from sync_server.admin.shapes import (
    Dismissal,
    OfTable,
    OfUser,
    Since,
    Somebody,
    State,
    Until,
    Which,
    between,
    by,
    raw,
    somebody,
    time_of,
)
from sync_server.audit import Acting
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.realms import Realm
from sync_server.stored import conflicts, restoring, rows, versions
from sync_server.stored.conflicts import Conflict
from sync_server.stored.refusals import VersionNotFound
from sync_server.stored.restoring import Restored
from sync_server.stored.rows import Wanted
from sync_server.stored.versions import RowKey, Version

_LIST = "/realms/{realm_name:str}/overridden"
_ONE = "/realms/{realm_name:str}/overridden/{overridden_id:str}"


class Overridden(msgspec.Struct):
    """A version that lost a conflict, beside the one that is stored now (null: none). `row`: the row's id, for `/rows`."""

    id: str
    row: str
    user: Somebody | None
    table: str
    rowguid: str
    lost: State
    stored: State | None
    settled: str | None
    settled_at: datetime | None


class BothVersions(msgspec.Struct):
    """A conflict with the data of both versions, null for a row that is gone; `lost_version` and `stored_version` tell who
    wrote them, when and where, as in the list.
    """

    id: str
    row: str
    table: str
    rowguid: str
    lost: Any
    stored: Any
    stored_stamp: int | None
    user: Somebody | None
    lost_version: State
    stored_version: State | None
    settled: str | None
    settled_at: datetime | None


@get(_LIST, opt=needs(Role.VIEWER), tags=["conflicts"])
async def list_overridden(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    user: OfUser = None,
    table: OfTable = None,
    show: Which = "open",
    since: Since = None,
    until: Until = None,
) -> Page[Overridden]:
    """Versions that lost a conflict, the latest first, each beside what is stored now."""
    begin, end = between(since, until)
    wanted = Wanted(user, storable(table, "table") if table is not None else None, since=begin, until=end)
    after, everything = paging.after(tuple[int, UUID]), show == "all"
    found = await realm.read(lambda tx: conflicts.page(tx, wanted, after, paging.fetch, also_settled=everything))
    return paging.page(found, lambda one: (one.stamp, one.id), None, _overridden)


@get(_ONE, opt=needs(Role.VIEWER), tags=["conflicts"])
async def get_overridden(realm: NamedDependency[Realm], overridden_id: FromPath[str]) -> Success[BothVersions]:
    """Both versions in full."""
    row, name = _named(overridden_id)

    async def look(tx: Tx) -> BothVersions:
        lost = await versions.find(tx, row, name)
        while True:
            stored, told = await versions.current(tx, row), _overridden(await conflicts.one(tx, row, name))
            if (stored and stored.stamp) == (told.stored and told.stored.stamp):  # else a device has just changed it
                return _both(told, lost, stored)

    return Success(await realm.transact(look))


@post(f"{_ONE}/restore", status_code=200, opt=needs(Role.TECHNICIAN), tags=["conflicts"])
async def restore_overridden(
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    overridden_id: FromPath[str],
) -> Success[Outcome]:
    """Bring the version that lost back to all devices. The one that it replaces is kept in turn."""
    row, name = _named(overridden_id)
    full = realm.settings.history == "full"

    async def restore(tx: Tx) -> Restored:
        version, restored = await restoring.restore(tx, row, name, by=admin.user_id, full_history=full)
        await note(tx, acting, "overridden.restore", row, restored, version.row_data, version=name)
        return restored

    restored = await realm.transact(restore)
    return Success(Outcome(row.id, restored.changed, restored.stamp))


@post(f"{_ONE}/dismiss", status_code=200, opt=needs(Role.TECHNICIAN), tags=["conflicts"])
async def dismiss_overridden(
    realm: NamedDependency[Realm], acting: NamedDependency[Acting], overridden_id: FromPath[str]
) -> Success[Dismissal]:
    """Leave it at that: the conflict is no longer listed as open. The version stays until it is pruned."""
    row, name = _named(overridden_id)

    async def dismiss(tx: Tx) -> bool:
        changed = await conflicts.dismiss(tx, row, name)
        if changed:
            of = await rows.owner(tx, row.space_id)
            told = {"table": row.tablename, "rowguid": row.rowguid, "version": name}
            subject = None if of is None else of.user_id
            await audit.record(
                tx, acting, action="overridden.dismiss", entity="row", entity_id=row.id, new=told, subject=subject
            )
        return changed

    return Success(Dismissal(await realm.transact(dismiss)))


def _named(overridden_id: str) -> tuple[RowKey, str]:
    """Raises VersionNotFound, RowNotFound."""
    row, dot, name = overridden_id.rpartition(".")
    if not dot:
        raise VersionNotFound
    return RowKey.of_id(row), str(versions.overridden_id(name))


def _overridden(one: Conflict) -> Overridden:
    dates = time_of(one.stamp), time_of(one.client_date)
    lost = State(one.operation, *dates, one.stamp, by(one.client_id, one.client_details), one.bytes, one.preview)
    return Overridden(
        f"{one.row.id}.{one.id}",
        one.row.id,
        somebody(one.user_id, one.email),
        one.tablename,
        one.rowguid,
        lost,
        _stored(one),
        one.settled,
        one.settled_at,
    )


def _both(told: Overridden, lost: Version, stored: Version | None) -> BothVersions:
    data, stamp = (None, None) if stored is None else (stored.row_data, stored.stamp)
    place = (told.id, told.row, told.table, told.rowguid)
    return BothVersions(
        *place, raw(lost.row_data), raw(data), stamp, told.user, told.lost, told.stored, told.settled, told.settled_at
    )


def _stored(one: Conflict) -> State | None:
    if one.stored_operation is None or one.stored_stamp is None or one.stored_client_id is None:
        return None
    device = by(one.stored_client_id, one.stored_client_details)
    dates = time_of(one.stored_stamp), time_of(one.stored_client_date)
    return State(one.stored_operation, *dates, one.stored_stamp, device, one.stored_bytes, one.stored_preview)


ROUTES = [list_overridden, get_overridden, restore_overridden, dismiss_overridden]
