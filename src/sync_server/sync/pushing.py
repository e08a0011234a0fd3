"""The sync algorithm: push. See engine.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sync_server.accounts.tokens import Device
from sync_server.audit import Acting
from sync_server.audit.chain import BUCKETS
from sync_server.database import Tx
from sync_server.errors import PullFirst, ReadOnly, TokenRejected
from sync_server.limits import KEPT_ASIDE
from sync_server.sync import aside
from sync_server.sync.columns import columns
from sync_server.sync.protocol import Push


class _PushClient(NamedTuple):
    space_id: UUID
    role: str
    sync_number: int
    sync_from: int | None
    sync_to: int | None
    sync_token: str | None


class _LastPush(NamedTuple):
    push_digest: str | None
    push_answer: int | None


class Pushed(NamedTuple):
    """What a push is answered: the new cursor at the end of a sync, None after a part. And how many versions lost to it, or
    it to others; `took`: ms since the sync began.
    """

    cursor: int | None
    conflicts: int = 0
    took: int | None = None


async def push_at_once(
    tx: Tx, device: Device, push: Push, audited: Acting | None = None, *, keep_deleted: bool = True
) -> Pushed | None:
    """As push, in one statement (or two, where the token promised too much); None where more is needed, as after another
    device's push in the same moment.
    """
    if push.unstorable:
        return None
    parameters = _parameters(device, push, keep_deleted=keep_deleted)
    short = _short_way(push, audited) if device.quiet else None
    stored = None if short is None else await tx.one(Pushed, short, parameters)
    return stored or await _store(tx, device, parameters, audited)


def _short_way(push: Push, audited: Acting | None) -> str | None:
    """The name of the statement for a push to a space that nobody else has changed, if it is one that has such a way."""
    if not push.changes:
        return None if push.is_partial else "push_nothing_quietly"
    if audited is not None or any(change.operation == "D" for change in push.changes):
        return None
    return "push_quietly"


async def push(
    tx: Tx,
    device: Device,
    push: Push,
    audited: Acting | None = None,
    *,
    keep_deleted: bool = True,
    share: int = KEPT_ASIDE,
) -> Pushed:
    """Store the changes of a push (G1, G4, G5, G10).

    `audited`: from where the push comes, where the realm keeps a full history: the data are kept then, and the audit log
    covers them. `keep_deleted`: whether the history keeps what a delete replaced, where it is not full.
    What cannot be stored is kept aside, up to `share` bytes per user, and does not hold up the rest.
    A viewer's device ends its syncs like any other, but may bring no changes.
    Raises PullFirst when the push belongs to no sync under way, ReadOnly, TokenRejected.
    """
    client = await tx.one(_PushClient, "client_of_push", device.parameters)
    if client is None or client.sync_from is None or client.sync_to is None or not _belongs(device, client):
        last = await tx.one(_LastPush, "last_push", device.parameters)
        if last is None:
            raise TokenRejected
        if (client is None or client.sync_from is None) and last.push_digest == push.digest:
            return Pushed(last.push_answer)
        raise PullFirst
    if client.role == "viewer" and (push.changes or push.unstorable):
        raise ReadOnly
    if push.changes:
        await tx.execute("lock_space", {"space_id": client.space_id})
    stored = await _store(tx, device, _parameters(device, push, keep_deleted=keep_deleted), audited)
    if stored is None:
        raise TokenRejected  # the user has just gone: what is locked is not overtaken
    if push.unstorable:
        await aside.keep(tx, device, push.unstorable, share)
    return stored


def _belongs(device: Device, client: _PushClient) -> bool:
    """Whether a call is part of the sync under way: it comes with the token of its pull, or with one issued after it.

    A request that was held up somewhere and arrives during a later sync carries an earlier number.
    """
    return device.token_id == client.sync_token or device.sync_number == client.sync_number


def _parameters(device: Device, push: Push, *, keep_deleted: bool) -> dict[str, Any]:
    return {
        **device.parameters,
        **columns(push.changes),
        "operations": [change.operation for change in push.changes],
        "row_datas": [change.row_data for change in push.changes],
        "is_partial": push.is_partial,
        "digest": push.digest,
        "without_changes": not push.changes,
        "keep_deleted": keep_deleted,
    }


async def _store(tx: Tx, device: Device, parameters: Mapping[str, Any], audited: Acting | None) -> Pushed | None:
    if audited is None:
        return await tx.one(Pushed, "push_changes", parameters)
    origin = {"address": audited.address, "request_id": audited.request_id, "bucket": device.user_id.int % BUCKETS}
    return await tx.one(Pushed, "push_changes_audited", {**parameters, **origin})
