"""The pages of a pull, each of its own snapshot, so that a long pull holds neither memory nor a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sync_server.database import Tx
from sync_server.sync.columns import columns
from sync_server.sync.protocol import DATE_LIMIT, Change

PART_ROWS = 1000
"""Versions that a statement looks at: of 4000 at once, each takes PostgreSQL longer."""
PAGE_PARTS = 4
"""Statements for a page at most. The first page has one, so that the answer begins early."""
PAGE_BYTES = 1024 * 1024
SMALL = 1024
"""Bytes of a row's data, of which PART_ROWS need not be added up."""
LAST_ORDINAL = 2**31 - 1
"""No version of a push has a higher one."""


class Place(NamedTuple):
    """The version behind which a pull goes on, and whether the rows of the part before were all small."""

    stamp: int
    ordinal: int
    small: bool = False


class Page(NamedTuple):
    """Rows of a pull as the inside of a JSON array, where the next page goes on (None after the last one), how many."""

    lines: bytes
    next: Place | None
    delivered: int = 0


class PullUnderWay(msgspec.Struct, frozen=True):
    """What a pull delivers: the versions stamped after `since`, up to `to`, for a device that knows those up to `from_`.

    `anew`: all is sent, because the device may hold what the server has lost.
    """

    space_id: UUID
    client_id: UUID
    since: int
    from_: int
    to: int
    first_stamp: int
    pending: Sequence[Change]
    anew: bool = False


class Found(NamedTuple):
    """What the statements of a page answer; those that begin a sync also where it is and how far it goes."""

    lines: bytes | None
    delivered: int
    largest: int | None
    stamp: int | None
    ordinal: int | None
    space_id: UUID | None = None
    to: int = 0
    first_stamp: int = 0


async def first_page(tx: Tx, pull: PullUnderWay) -> Page:
    """The first rows of a pull."""
    return await next_page(tx, pull, Place(pull.since, LAST_ORDINAL if pull.since else 0), parts=1)


async def next_page(tx: Tx, pull: PullUnderWay, after: Place, parts: int = PAGE_PARTS) -> Page:
    """The rows of a long pull behind `after`, until there are about PAGE_BYTES of them.

    A row that changes between two pages, or two of their parts, gets a stamp above `to` and comes with the next pull.
    """
    if not tx.on_cockroachdb:  # which has no such settings, and plans by itself as wanted here
        await tx.execute("plan_by_index", {})
    given = {**msgspec.structs.asdict(pull), **parameters(pull.pending, after, PART_ROWS), "small": SMALL}
    may_be_small = not pull.pending
    read = [await _part(tx, given, small=may_be_small and after.small)]
    while (place := read[-1].next) and len(read) < parts and sum(len(part.lines) for part in read) < PAGE_BYTES:
        behind = {"after_stamp": place.stamp, "after_ordinal": place.ordinal}
        read.append(await _part(tx, {**given, **behind}, small=may_be_small and place.small))
    lines = b",".join([part.lines for part in read if part.lines])
    return Page(lines, place, sum(part.delivered for part in read))


async def _part(tx: Tx, given: Mapping[str, Any], *, small: bool) -> Page:
    """`small`: the rows behind that place are expected to be small, and none is pending."""
    if small:
        found = await tx.one(Found, "page_of_small_rows", given)
        if found is not None and is_small(found):
            return page_of(found)
    found = await tx.one(Found, "page_of_pull", given)
    return Page(b"", None) if found is None else page_of(found)


def parameters(pending: Sequence[Change], after: Place, rows: int) -> dict[str, Any]:
    """What the statements of a page take, but for whose it is. `rows`: the most that it may have."""
    limits = {"after_stamp": after.stamp, "after_ordinal": after.ordinal, "rows": rows, "bytes": PAGE_BYTES}
    return {**columns(pending, undated=DATE_LIMIT), **limits}


def page_of(found: Found) -> Page:
    """The page that was found, and where the next one goes on."""
    if found.stamp is None or found.ordinal is None:
        return Page(found.lines or b"", None, found.delivered)
    return Page(found.lines or b"", Place(found.stamp, found.ordinal, is_small(found)), found.delivered)


def is_small(found: Found) -> bool:
    """Whether the page is one of page_of_small_rows, and the next may be."""
    return (found.largest or 0) <= SMALL
