"""The sync algorithm: pull and cancel, push in pushing.py. Proved on a model (tests/model.py); change it there first.

A stamp orders the changes of a space. Stamps are handed out under the lock of the space's row, held until commit, so the
order of stamps is the order of commits, and no reader passes a change that is not yet visible.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sync_server.accounts.tokens import Device
from sync_server.database import Tx
from sync_server.errors import AlreadySyncing, TokenRejected
from sync_server.sync import pages
from sync_server.sync.pages import LAST_ORDINAL, PART_ROWS, SMALL, Found, Page, Place, PullUnderWay
from sync_server.sync.protocol import Pull

TAKEOVER = 120_000
"""Milliseconds after which a new pull may take the place of a sync under way. Its own pushes never expire. A start that
lies as far in the future counts too: the database's clock was wrong then, which must not block the client."""


class _PullClient(NamedTuple):
    space_id: UUID
    clock: int
    pruned: int
    restored: int
    first_stamp: int | None
    acknowledged: int | None
    first_number: int
    sync_number: int
    sync_to: int | None
    sync_digest: str | None
    sync_token: str | None
    sync_age: int | None


async def begin_pull_at_once(tx: Tx, device: Device, pull: Pull, *, durably: bool) -> tuple[PullUnderWay, Page] | None:
    """As begin_pull, but in one statement (for a first pull in several of one transaction); None where more is needed.

    `durably`: it may change what must outlast a crash, and waits for the disk, which few pulls need to.
    """
    begun = {"from_": pull.last_sync, "digest": pull.digest, "small": SMALL, "anew": False, "durably": durably}
    first_rows = PART_ROWS if pull.last_sync else 0
    page = pages.parameters(pull.pending, Place(pull.last_sync, LAST_ORDINAL), first_rows)
    statement = "begin_pull_durably" if durably else _beginning(device, pull)
    found = await tx.one(Found, statement, {**device.parameters, **begun, **page})
    if found is None or found.space_id is None:
        return None
    under_way = PullUnderWay(
        found.space_id, device.client_id, pull.last_sync, pull.last_sync, found.to, found.first_stamp, pull.pending
    )
    if found.to == pull.last_sync:
        return under_way, Page(b"", None)
    without_page = statement == "begin_pull_quietly" or (statement == "begin_pull" and not pages.is_small(found))
    if pull.last_sync == 0 or without_page:
        return under_way, await pages.first_page(tx, under_way)
    return under_way, pages.page_of(found)


def _beginning(device: Device, pull: Pull) -> str:
    """The name of the statement that is likely to be the shortest."""
    if device.quiet:
        return "begin_pull_quietly"
    return "begin_pull_with_pending" if pull.pending else "begin_pull"


async def begin_pull(tx: Tx, device: Device, pull: Pull) -> tuple[PullUnderWay, Page]:
    """Begin a sync, or go on with the one under way when the same pull comes again; the first page of its rows.

    Raises AlreadySyncing while another sync of this client is under way, TokenRejected.
    """
    client = await tx.one(_PullClient, "client_of_pull", device.parameters)
    if client is None or not client.first_number <= device.sync_number <= client.sync_number:
        raise TokenRejected  # also of a pull that a crash of the database made forgotten: see begin_pull in sync.sql
    to = client.sync_to
    if to is None or _may_take_over(device, client, pull):
        to = client.clock
        await _begin(tx, device, client, pull, to)
    elif client.sync_digest != pull.digest or (_is_stale(client) and device.token_id != client.sync_token):
        raise AlreadySyncing
    elif _is_new_attempt(device, client):
        await _begin(tx, device, client, pull, to)
    since, first_stamp = pull.last_sync, _first_stamp(client, pull, to)
    anew = _knows_more(client, pull, to)
    if anew:
        since = first_stamp = 0
    from_ = min(pull.last_sync, to)
    under_way = PullUnderWay(client.space_id, device.client_id, since, from_, to, first_stamp, pull.pending, anew)
    return under_way, await pages.first_page(tx, under_way)


def _knows_more(client: _PullClient, pull: Pull, to: int) -> bool:
    """Whether the device may hold what the server has lost, because the database was put back to a backup.

    Then it is sent all that the server has, tombstones too: versions that it had in between must not stay with it alone.
    A device without a cursor has not finished a sync yet, but may have pulled rows before the restore.
    """
    was_here = client.first_stamp is not None and client.first_stamp < client.restored
    return pull.last_sync > to or (pull.last_sync < client.restored and (pull.last_sync > 0 or was_here))


def _first_stamp(client: _PullClient, pull: Pull, to: int) -> int:
    """From where on the device is sent tombstones: since its first pull, before which it had no rows.

    But one that came with a cursor then had another client here, which an operator may have removed, and has rows.
    """
    if client.first_stamp is not None:
        return client.first_stamp
    return 0 if pull.last_sync > 0 else to


def _is_stale(client: _PullClient) -> bool:
    """Whether the sync under way was begun so long ago that another may take its place."""
    return client.sync_age is None or abs(client.sync_age) >= TAKEOVER


def _may_take_over(device: Device, client: _PullClient, pull: Pull) -> bool:
    """Whether a pull may take the place of the sync under way, which may be a slow one and still be pushed.

    Only one with a token issued since that began may, and another one of a client that keeps its token for a day. A copy
    of an earlier pull, or of the very one that began it, may not: the device's next token would belong to the copy's
    sync, with a later clock, and it would never hear of what was stored between the two.
    """
    if not _is_stale(client):
        return False
    if device.sync_number == client.sync_number or client.sync_age is None:
        return True
    return device.token_id == client.sync_token and pull.digest != client.sync_digest


async def _begin(tx: Tx, device: Device, client: _PullClient, pull: Pull, to: int) -> None:
    """Begin a sync that delivers what was stamped up to `to`."""
    from_ = acknowledged = min(pull.last_sync, to)
    knows_more, first_stamp = _knows_more(client, pull, to), _first_stamp(client, pull, to)
    if client.acknowledged is not None and client.sync_to is None:
        acknowledged = min(client.acknowledged, from_)  # it goes up when the sync ends
    await tx.execute("begin_sync", {**device.parameters, "from_": from_, "to": to, "digest": pull.digest})
    heard = {"first_stamp": first_stamp, "acknowledged": 0 if knows_more else acknowledged}
    await tx.execute("note_pull", {**device.parameters, **heard})
    after = 0 if knows_more else max(from_, first_stamp)
    if after < client.pruned:
        pruned = {"space_id": client.space_id, "after": after, "pruned": client.pruned}
        await tx.execute("bring_back_tombstones", pruned)


def _is_new_attempt(device: Device, client: _PullClient) -> bool:
    """Whether a pull that says the same as that of the sync under way comes with a token issued since: no copy of it.

    What the attempt before has sent, and may be held up somewhere, must not mix with this one's: pulls that say the same
    of a row do not tell its data.
    """
    return device.token_id != client.sync_token and device.sync_number == client.sync_number


async def cancel(tx: Tx, device: Device) -> None:
    """End the sync under way that this call belongs to, if any. Raises TokenRejected."""
    if await tx.value("cancel_sync", device.parameters) is None:
        raise TokenRejected
