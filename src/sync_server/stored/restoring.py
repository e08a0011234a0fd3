"""Bringing a version back as a new change, which all devices receive. Proved on the model (tests/model.py, `restore`)."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sync_server.database import Tx
from sync_server.stored import versions
from sync_server.stored.refusals import RowChanged, RowNotFound, VersionNotKept
from sync_server.stored.versions import OPERATOR, RowKey, Version


class Restored(NamedTuple):
    """The row's stamp afterwards (None: nothing is stored), and what was replaced; `changed`: whether anything was; `full`:
    whether the history has the data now, which the audit log is to cover.
    """

    stamp: int | None
    before: Version | None
    changed: bool
    full: bool = False


async def restore(
    tx: Tx, row: RowKey, name: str, *, by: UUID, full_history: bool, seen: int | None = None
) -> tuple[Version, Restored]:
    """Bring back an earlier, overridden or deleted version of a row.

    `seen`: the stamp of the stored version that the operator has looked at (0: none was stored); another one is left as it
    is. Raises RowNotFound, VersionNotFound, VersionNotKept, RowChanged.
    """
    await lock(tx, row.space_id)
    version = await versions.find(tx, row, name)
    if not version.complete:
        raise VersionNotKept
    restored = await put(tx, row, version.row_data, by=by, full_history=full_history, seen=seen)
    if not versions.is_recorded(name):
        await tx.execute("settle_overridden", {**row._asdict(), "id": UUID(name), "settled": "restored"})
    return version, restored


async def lock(tx: Tx, space_id: UUID) -> None:
    """Keep pushes to the space waiting. Raises RowNotFound where there is none."""
    if await tx.value("lock_space", {"space_id": space_id}) is None:
        raise RowNotFound


async def put(
    tx: Tx, row: RowKey, row_data: str | None, *, by: UUID, full_history: bool, seen: int | None = None
) -> Restored:
    """Have the row say `row_data` (None: be gone) on all devices; what it said before is kept in `overridden`.

    The space is locked. Where the row says so already nothing changes, so twice is as once. Raises RowChanged.
    """
    stored = await versions.current(tx, row)
    live = stored is not None and not stored.gone
    if row_data == (stored.row_data if stored is not None and live else None):
        return Restored(stored.stamp if stored else None, stored, changed=False)
    if seen is not None and seen != (stored.stamp if stored else 0):
        raise RowChanged
    operation = "D" if row_data is None else "U" if live else "I"
    content = {"operation": operation, "row_data": row_data, "full_history": full_history}
    stamp = await tx.value("restore_version", {**row._asdict(), **content, "by": by, "operator": OPERATOR})
    return Restored(stamp, stored, changed=True, full=full_history)
