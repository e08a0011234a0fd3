"""What pull, push and cancelSync do: bodies read, rules run in transactions of the realm, answers made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import structlog

from sync_server import observing
from sync_server.accounts import standing
from sync_server.accounts.tokens import Device
from sync_server.audit import Acting
from sync_server.database import Tx
from sync_server.errors import TokenRejected
from sync_server.outcome import Outcome
from sync_server.realms import Realm
from sync_server.server import Server
from sync_server.sync import aside, crowd, engine, pages, protocol, pushing, uploads

log = structlog.get_logger()
_LARGE = 2 * pages.PAGE_BYTES
"""Bytes of a page that has a row of that size, so that a copy would cost more than a piece of the answer of its own."""
_PART_RECEIVED = b'{"code":206,"message":"Part received, others are missing"}'
_CANCELLED = b'{"code":200,"message":"No sync is under way"}'
_Begun = tuple[pages.PullUnderWay, pages.Page]
Run = Callable[[Realm, Device, bytes], Awaitable[Outcome]]


async def pull(realm: Realm, device: Device, server: Server, body: bytes) -> Outcome:
    """Begin a sync: what the device must apply (G2, G6, G7, G9)."""
    return await _whole_or_part("pull", _pull, realm, device, server, body)


async def push(realm: Realm, device: Device, server: Server, body: bytes) -> Outcome:
    """Store a device's changes; a push that is not partial ends the sync (G1, G4, G5, G10)."""
    return await _whole_or_part("push", _push, realm, device, server, body)


async def cancel_sync(realm: Realm, device: Device, body: bytes) -> Outcome:
    """End the client's sync under way, if any."""
    protocol.check_cancel(body, device.client_id)
    stands = await standing.of_device(realm, device)
    if stands is None:
        raise TokenRejected
    if stands.syncing:
        await realm.once(lambda tx: engine.cancel(tx, device))
    return Outcome(_CANCELLED)


async def _whole_or_part(
    call: uploads.Call, run: Run, realm: Realm, device: Device, server: Server, body: bytes
) -> Outcome:
    """Run the call that the body is, or that it completes as the last part of an upload."""
    part = uploads.read_part(body)
    if part is None:
        return await run(realm, device, body)
    most = server.config.server.max_body
    whole = await realm.transact(lambda tx: uploads.add(tx, device, call, part, most))
    if whole is None:
        return Outcome(_PART_RECEIVED, status=206)
    return await run(realm, device, whole)


async def _pull(realm: Realm, device: Device, body: bytes) -> Outcome:
    request = protocol.decode_pull(body, device.client_id)
    under_way, first = await _begin(realm, device, request)
    observing.present().rows_out = first.delivered
    head = b'{"clientId":"%b","lastSync":%d,"outdatedRowsGuid":[],"data":[' % (
        str(device.client_id).encode(),
        under_way.to,
    )
    if first.next is None and len(first.lines) < _LARGE:
        return Outcome(head + first.lines + b"]}")
    return Outcome(_pages(realm, under_way, head, first))


async def _begin(realm: Realm, device: Device, request: protocol.Pull) -> _Begun:
    """Begin the sync, most often in one statement."""
    number = await crowd.enter(realm, device)
    try:
        begun = await _begin_at_once(realm, device, request)
        if begun is not None:
            return begun
        return await realm.transact(lambda tx: engine.begin_pull(tx, device, request))
    finally:
        realm.room.entered(number)


async def _begin_at_once(realm: Realm, device: Device, request: protocol.Pull) -> _Begun | None:
    def begin(*, durably: bool) -> Callable[[Tx], Awaitable[_Begun | None]]:
        return lambda tx: engine.begin_pull_at_once(tx, device, request, durably=durably)

    if request.last_sync == 0:
        return await realm.transact(begin(durably=True))
    return await realm.once(begin(durably=False)) or await realm.once(begin(durably=True))


async def _pages(realm: Realm, under_way: pages.PullUnderWay, head: bytes, page: pages.Page) -> AsyncIterator[bytes]:
    """The answer, page by page. Each is read when the device has taken the one before, in a transaction of its own: a slow
    phone holds no connection and no snapshot.
    """
    separator = head
    while True:
        if len(page.lines) >= _LARGE:
            yield separator
            yield page.lines
        elif page.lines:  # a page may have nothing that the device must apply
            yield separator + page.lines
        separator = b"," if page.lines else separator
        if page.next is None:
            break
        page = await realm.transact(_page_after(under_way, page.next))
        observing.present().rows_out += page.delivered
    yield (head if separator is head else b"") + b"]}"


def _page_after(under_way: pages.PullUnderWay, after: pages.Place) -> Callable[[Tx], Awaitable[pages.Page]]:
    return lambda tx: pages.next_page(tx, under_way, after)


async def _push(realm: Realm, device: Device, body: bytes) -> Outcome:
    settings, limits = realm.settings, realm.settings.limits
    audited = _origin() if settings.history == "full" else None
    keep = settings.retention.deleted != 0
    request = protocol.decode_push(body, device.client_id, limits)
    pushed = await realm.once(lambda tx: pushing.push_at_once(tx, device, request, audited, keep_deleted=keep))
    if pushed is None:
        share = limits.kept_aside
        pushed = await realm.transact(
            lambda tx: pushing.push(tx, device, request, audited, keep_deleted=keep, share=share)
        )
    _note(request, pushed)
    if request.unstorable:
        kept = aside.summary(request.unstorable)
        log.warning("kept_aside", realm=realm.name, client=str(device.client_id), changes=kept)
    return Outcome(msgspec.json.encode(protocol.Pushed(pushed.cursor)))


def _origin() -> Acting:
    call = observing.present()
    return Acting(address=call.address, request_id=call.request_id, via="wire")


def _note(request: protocol.Push, pushed: pushing.Pushed) -> None:
    call = observing.present()
    call.rows_in = len(request.changes)
    call.aside = len(request.unstorable)
    call.conflicts = pushed.conflicts
    call.synced = pushed.cursor is not None
    call.took = pushed.took
