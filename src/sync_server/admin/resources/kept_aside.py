"""`/realms/{realm}/kept-aside`: changes that broke a limit or could not be stored as rows."""

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
from sync_server.admin.shapes import Dismissal, OfUser, Since, Somebody, Until, Which, aware, by, raw
from sync_server.audit import Acting
from sync_server.database import Tx
from sync_server.realms import Realm
from sync_server.stored import put_aside, versions
from sync_server.stored.put_aside import Aside
from sync_server.stored.restoring import Restored
from sync_server.stored.versions import RowKey

_LIST = "/realms/{realm_name:str}/kept-aside"
_ONE = "/realms/{realm_name:str}/kept-aside/{change_id:uuid}"


class KeptAside(msgspec.Struct):
    """A change that broke a limit or a rule (`reason`, `detail`; `most`: the limit). `complete`: whether it is kept."""

    id: UUID
    user: Somebody
    client_id: UUID
    client_name: str | None
    received_at: datetime
    reason: str
    detail: str
    most: int | None
    bytes: int
    preview: str | None
    complete: bool
    settled: str | None
    settled_at: datetime | None


class FullChange(msgspec.Struct):
    """A change as the device sent it, null where it was not kept."""

    id: UUID
    change: Any


@get(_LIST, opt=needs(Role.VIEWER), tags=["conflicts"])
async def list_kept_aside(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    user: OfUser = None,
    show: Which = "open",
    since: Since = None,
    until: Until = None,
) -> Page[KeptAside]:
    """Changes that were kept aside because they broke a limit or could not be stored, the latest first."""
    after, everything = paging.after(tuple[datetime, UUID]), show == "all"
    found = await realm.read(
        lambda tx: put_aside.page(
            tx, user, after, paging.fetch, since=aware(since), until=aware(until), also_settled=everything
        )
    )
    return paging.page(found, lambda one: (one.received_at, one.id), None, _aside)


@get(_ONE, opt=needs(Role.VIEWER), tags=["conflicts"])
async def get_kept_aside(realm: NamedDependency[Realm], change_id: FromPath[UUID]) -> Success[FullChange]:
    """A change as the device sent it."""
    _, text = await realm.transact(lambda tx: put_aside.one(tx, change_id))
    return Success(FullChange(change_id, raw(text)))


@post(f"{_ONE}/restore", status_code=200, opt=needs(Role.TECHNICIAN), tags=["conflicts"])
async def restore_kept_aside(
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    change_id: FromPath[UUID],
) -> Success[Outcome]:
    """Store the change for all devices, where the realm's limits now allow it: 409 where they do not."""
    settings = realm.settings
    full = settings.history == "full"

    async def restore(tx: Tx) -> tuple[RowKey, Restored]:
        row, restored = await put_aside.restore(tx, change_id, settings.limits, by=admin.user_id, full_history=full)
        stored = await versions.current(tx, row)
        data = None if stored is None else stored.row_data
        await note(tx, acting, "kept_aside.restore", row, restored, data, change=str(change_id))
        return row, restored

    row, restored = await realm.transact(restore)
    return Success(Outcome(row.id, restored.changed, restored.stamp))


@post(f"{_ONE}/dismiss", status_code=200, opt=needs(Role.TECHNICIAN), tags=["conflicts"])
async def dismiss_kept_aside(
    realm: NamedDependency[Realm], acting: NamedDependency[Acting], change_id: FromPath[UUID]
) -> Success[Dismissal]:
    """Leave it at that: the change is no longer listed as open. It stays until it is pruned."""

    async def dismiss(tx: Tx) -> bool:
        changed = await put_aside.dismiss(tx, change_id)
        if changed:
            await audit.record(tx, acting, action="kept_aside.dismiss", entity="kept_aside", entity_id=change_id)
        return changed

    return Success(Dismissal(await realm.transact(dismiss)))


def _aside(one: Aside) -> KeptAside:
    return KeptAside(
        one.id,
        Somebody(one.user_id, one.email),
        one.client_id,
        by(one.client_id, one.client_details).name,
        one.received_at,
        one.reason,
        one.detail,
        one.most,
        one.bytes,
        one.preview,
        one.complete,
        one.settled,
        one.settled_at,
    )


ROUTES = [list_kept_aside, get_kept_aside, restore_kept_aside, dismiss_kept_aside]
