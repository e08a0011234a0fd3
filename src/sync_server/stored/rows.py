"""Rows as an operator browses them: by user, table, text and date, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from sync_server.database import Tx
from sync_server.stored.refusals import RowNotFound, UserNotFound
from sync_server.stored.versions import RowKey

LOOK = 2000
"""Rows that one page looks at: where few match it is short, and the next one goes on."""
LOOK_AT_HISTORY = 50_000
_SPACES = 200
MOST_OVERRIDDEN = 200
_FIRST, _LAST = UUID(int=0), UUID(int=(1 << 128) - 1)
ALWAYS = (-(2**63), 2**63 - 1)
"""From the beginning to the end of time, in ms since the epoch."""


class Wanted(msgspec.Struct, frozen=True):
    """Which rows; None lets everything pass. `since` and `until`: when the server got the version, ms since the epoch."""

    user_id: UUID | None = None
    tablename: str | None = None
    search: str | None = None
    """A part of the row's key or data, in any case."""
    gone: bool | None = None
    """Only those that are deleted, or that are not."""
    since: int = ALWAYS[0]
    until: int = ALWAYS[1]


Place = tuple[UUID, int, int]
"""Of a version: space, stamp, ordinal."""


class Found(NamedTuple):
    """A row's current version. `preview`: the beginning of its data. `deleted_…`: of what was deleted, where it is kept."""

    space_id: UUID
    tablename: str
    rowguid: str
    operation: str
    client_date: int
    client_id: UUID
    stamp: int
    ordinal: int
    bytes: int
    preview: str | None
    deleted_bytes: int | None
    deleted_preview: str | None
    user_id: UUID | None
    email: str | None
    client_details: str | None
    matches: bool
    looked: int


class Spaces(NamedTuple):
    """Which spaces a list is of."""

    least: UUID
    last: UUID


async def spaces(tx: Tx, user_id: UUID | None) -> Spaces:
    """All, or the user's. Raises UserNotFound."""
    if user_id is None:
        return Spaces(_FIRST, _LAST)
    found: UUID | None = await tx.value("space_of_user_id", {"user_id": user_id})
    if found is None:
        raise UserNotFound
    return Spaces(found, found)


async def browse(tx: Tx, wanted: Wanted, after: Place | None, limit: int) -> tuple[Sequence[Found], Place | None]:
    """Up to `limit` rows behind the place `after`, and the place from which the next page goes on, None after the last one.

    A page may have fewer rows, or none, and yet not be the last one. Raises UserNotFound.
    """
    of = await spaces(tx, wanted.user_id)
    last, stamp, ordinal = after or (of.last, ALWAYS[1], 0)
    looking = {
        "least": of.least,
        "last": last,
        "stamp": stamp,
        "ordinal": ordinal,
        "spaces": _SPACES,
        "look": LOOK,
        "fetch": limit,
    }
    found = await tx.all(Found, "browse_rows", {**looking, **_filters(wanted)})
    matching = [row for row in found if row.matches][:limit]
    if len(matching) == limit:
        return matching, matching[-1][:1] + matching[-1][6:8]
    if found and found[-1].looked == LOOK:
        return matching, found[-1][:1] + found[-1][6:8]
    further: UUID | None = await tx.value("space_to_go_on_from", looking)
    return matching, None if further is None else (further, ALWAYS[0], 0)


def _filters(wanted: Wanted) -> dict[str, object]:
    search = wanted.search.lower() if wanted.search else None
    return {
        "tablename": wanted.tablename,
        "gone": wanted.gone,
        "since": wanted.since,
        "until": wanted.until,
        "search": search,
        # as it stands within JSON
        "search_data": None if search is None else msgspec.json.encode(search).decode()[1:-1],
    }


class Stored(NamedTuple):
    """What is stored of a row, in full. `deleted_…`: of what was deleted, where it is kept."""

    operation: str
    row_data: str | None
    client_date: int
    client_id: UUID
    stamp: int
    ordinal: int
    client_details: str | None
    deleted_bytes: int | None
    deleted_preview: str | None


class Owner(NamedTuple):
    """Whose row it is."""

    user_id: UUID
    email: str


class Overridden(NamedTuple):
    """A version that was replaced or lost, without all of its data."""

    id: UUID
    operation: str
    client_date: int
    client_id: UUID
    stamp: int
    bytes: int
    preview: str | None
    settled: str | None
    settled_at: datetime | None
    client_details: str | None


class Recorded(NamedTuple):
    """A line of the history, without all of its data. `deleted_…`: of what was deleted, where it is kept."""

    operation: str
    client_date: int
    client_id: UUID
    user_id: UUID
    stamp: int
    ordinal: int
    complete: bool
    bytes: int
    preview: str | None
    deleted_bytes: int | None
    deleted_preview: str | None
    client_details: str | None
    matches: bool
    looked: int


async def owner(tx: Tx, space_id: UUID) -> Owner | None:
    return await tx.one(Owner, "user_of_space", {"space_id": space_id})


async def one(tx: Tx, row: RowKey) -> tuple[Stored | None, Sequence[Overridden]]:
    """What is stored of a row, and its newest overridden versions. Raises RowNotFound where nothing is known of it."""
    stored = await tx.one(Stored, "row_in_full", row._asdict())
    overridden = await tx.all(Overridden, "overridden_versions", {**row._asdict(), "most": MOST_OVERRIDDEN})
    if stored is None and not overridden and not (await history(tx, row, None, 1))[0]:
        raise RowNotFound
    return stored, overridden


async def history(
    tx: Tx, row: RowKey, after: tuple[int, int] | None, limit: int
) -> tuple[Sequence[Recorded], tuple[int, int] | None]:
    """Up to `limit` lines of a row's history behind `after` (stamp, ordinal), newest first; where the next page goes on.

    A page may have fewer lines, or none, and yet not be the last one.
    """
    stamp, ordinal = after or (ALWAYS[1], 0)
    looking = {"stamp": stamp, "ordinal": ordinal, "look": LOOK_AT_HISTORY, "fetch": limit}
    found = await tx.all(Recorded, "recorded_versions", {**row._asdict(), **looking})
    matching = [line for line in found if line.matches][:limit]
    if len(matching) == limit:
        return matching, (matching[-1].stamp, matching[-1].ordinal)
    if found and found[-1].looked == LOOK_AT_HISTORY:
        return matching, (found[-1].stamp, found[-1].ordinal)
    return matching, None
