"""`/realms/{realm}/audit-logs`: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Page
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import gives, needs
from sync_server.admin.shapes import OfTable, Since, Somebody, Until, between, raw, time_of
from sync_server.audit import exporting, listing
from sync_server.audit.exporting import Format
from sync_server.audit.listing import Entry, Place, RowChange, RowPlace, RowsWanted, Wanted
from sync_server.bodies import storable
from sync_server.realms import Realm

_ALL = "/realms/{realm_name:str}/audit-logs"
_TYPES = {"csv": "text/csv", "jsonl": "application/jsonl"}
_OPERATIONS = {"I": "insert", "U": "update", "D": "delete"}
By = Annotated[UUID | None, QueryParameter(description="Only what this user did, by id")]
Text = Annotated[str | None, QueryParameter(max_length=1000)]


class Who(msgspec.Struct):
    """Who did it: `email` is null once they are gone, and of an owner of another realm; `role` and `realm` are what they
    were; `via` is api, cli or wire.
    """

    user_id: UUID | None
    email: str | None
    realm: str | None
    role: str | None
    device: UUID | None
    address: str | None
    via: str


class Logged(msgspec.Struct):
    """A line of the log. `changes`: how many rows a push changed; they are in `/changes`. `old`, `new`: what was changed;
    `erased`: whether it was, with the user that it was about.
    """

    id: str
    at: datetime | None
    action: str
    entity: str
    entity_id: str
    who: Who
    request_id: str | None
    changes: int | None
    old: Any
    new: Any
    erased: bool
    hash: str


class ChangedRow(msgspec.Struct):
    """A change of a row. `line`: of the log, which covers it. `client_date`: by the device's clock. `old` and `new` are null
    where there was no row, where the history has lost them, and where they have more than 64 KiB; the export has those.
    """

    line: str
    at: datetime | None
    operation: str
    table: str
    rowguid: str
    user: Somebody | None
    user_id: UUID | None
    device: UUID | None
    address: str | None
    request_id: str | None
    client_date: datetime | None
    old: Any
    old_bytes: int
    new: Any
    new_bytes: int


@get(_ALL, opt=needs(Role.ADMIN), tags=["audit"])
async def list_audit_logs(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    since: Since = None,
    until: Until = None,
    user: By = None,
    entity: Text = None,
    entity_id: Text = None,
    action: Text = None,
) -> Page[Logged]:
    """Lines of the log, the latest first: what admins did, and where the history is full, the pushes of devices."""
    wanted = _wanted(since, until, user, entity, entity_id, action)
    after = paging.after(tuple[int, UUID, int])
    place = None if after is None else Place(*after)
    found = await realm.read(lambda tx: listing.page(tx, wanted, place, paging.fetch))
    return paging.page(found, lambda entry: entry.place, None, _logged)


@get(f"{_ALL}/changes", opt=needs(Role.ADMIN), tags=["audit"])
async def list_audited_changes(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    since: Since = None,
    until: Until = None,
    user: By = None,
    table: OfTable = None,
    rowguid: Annotated[str | None, QueryParameter(max_length=255, description="Only rows with this key")] = None,
) -> Page[ChangedRow]:
    """Who changed which rows, the latest first, with old and new values. Empty where the history is not full.

    Without a user all changes of the time between `since` and `until` are looked through: give both for a large realm.
    """
    begin, end = between(since, until)
    wanted = RowsWanted(begin, end, user, _storable(table, "table"), _storable(rowguid, "rowguid"))
    after = paging.after(tuple[int, UUID, int, int])
    place = None if after is None else RowPlace(*after)
    found = await realm.read(lambda tx: listing.changes(tx, wanted, place, paging.fetch))
    return paging.page(found, lambda change: change.place, None, _changed)


@get(f"{_ALL}/export", opt=gives(needs(Role.ADMIN), *_TYPES.values()), tags=["audit"])
async def export_audit_logs(
    realm: NamedDependency[Realm],
    since: Since = None,
    until: Until = None,
    user: By = None,
    entity: Text = None,
    entity_id: Text = None,
    action: Text = None,
    form: Annotated[Format, QueryParameter(name="format", description="Which form the lines have")] = "jsonl",
) -> Stream:
    """All lines with all values, as CSV or JSON Lines: a push as one line per row that it changed. Streamed."""
    wanted = _wanted(since, until, user, entity, entity_id, action)
    headers = {"Content-Disposition": f'attachment; filename="audit-{realm.name}.{form}"'}
    return Stream(exporting.export(realm, wanted, form), media_type=_TYPES[form], headers=headers)


def _wanted(
    since: datetime | None,
    until: datetime | None,
    user: UUID | None,
    entity: str | None,
    entity_id: str | None,
    action: str | None,
) -> Wanted:
    begin, end = between(since, until)
    texts = _storable(entity, "entity"), _storable(entity_id, "entity_id"), _storable(action, "action")
    return Wanted(begin, end, user, *texts)


def _storable(text: str | None, name: str) -> str | None:
    return None if text is None else storable(text, name)


def _logged(entry: Entry) -> Logged:
    values = exporting.values(entry)
    who = Who(entry.user_id, entry.email, entry.realm, entry.role, entry.client_id, entry.address, entry.via)
    return Logged(
        id=f"{entry.chain_id}.{entry.number}",
        at=time_of(entry.at),
        action=entry.action,
        entity=entry.entity,
        entity_id=entry.entity_id,
        who=who,
        request_id=entry.request_id,
        changes=entry.changes,
        old=raw(values["old"]),
        new=raw(values["new"]),
        erased=entry.erased,
        hash=entry.hash,
    )


def _changed(change: RowChange) -> ChangedRow:
    known = change.user_id is not None and change.email is not None
    return ChangedRow(
        line=f"{change.chain_id}.{change.number}",
        at=time_of(change.at),
        operation=_OPERATIONS[change.operation],
        table=change.tablename,
        rowguid=change.rowguid,
        user=Somebody(change.user_id, change.email) if known and change.email else None,
        user_id=change.user_id,
        device=change.client_id,
        address=change.address,
        request_id=change.request_id,
        client_date=time_of(change.client_date),
        old=raw(change.old),
        old_bytes=change.old_bytes,
        new=raw(change.new),
        new_bytes=change.new_bytes,
    )


ROUTES = [list_audit_logs, list_audited_changes, export_audit_logs]
