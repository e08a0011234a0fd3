"""`/realms/{realm}/rows/{row}/restore`, and what every call that brings a row's version back answers and has audited."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody

from sync_server import audit
from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Success
from sync_server.admin.permissions import needs
from sync_server.admin.sessions import Admin
from sync_server.audit import Acting
from sync_server.database import Tx
from sync_server.realms import Realm
from sync_server.stored import restoring, rows
from sync_server.stored.refusals import RowChanged
from sync_server.stored.restoring import Restored
from sync_server.stored.versions import RowKey, Version

_STAMP = re.compile(r"[0-9]{1,19}")
_AUDITED = 65_536
"""Characters of a row's data that the audit log keeps; what is longer stands in the versions alone."""
IfMatch = Annotated[
    str | None, HeaderParameter(name="If-Match", description="The row's `ETag`: 412 where it has changed since")
]


class Restoration(msgspec.Struct, forbid_unknown_fields=True):
    version: Annotated[str, msgspec.Meta(min_length=2, max_length=64)]
    """The `id` of a version in the history, among the overridden ones, or of what was deleted."""


class Outcome(msgspec.Struct):
    """`changed` is false where the row said so already. `stamp`: of the row now."""

    id: str
    changed: bool
    stamp: int | None


@post("/realms/{realm_name:str}/rows/{row_id:str}/restore", status_code=200, opt=needs(Role.TECHNICIAN), tags=["rows"])
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


def _seen(if_match: str | None) -> int | None:
    """The stamp that an If-Match names. Raises RowChanged where it is the ETag of no row."""
    if if_match is None or if_match.strip() == "*":
        return None
    digits = if_match.strip().strip('"')
    if not _STAMP.fullmatch(digits):
        raise RowChanged
    return int(digits)


ROUTES = [restore_row]
