"""`/realms/{realm}/clients`: devices, how their syncs go, and what can be done about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from sync_server import audit
from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Page, Success
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.admin.shapes import OfUser, Somebody, milliseconds, time_of
from sync_server.audit import Acting
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.realms import Realm
from sync_server.stored import descriptions, devices
from sync_server.stored.devices import Device, Wanted
from sync_server.stored.refusals import DeviceNotFound

_ONE = "/realms/{realm_name:str}/clients/{client_id:uuid}"


class LastError(msgspec.Struct):
    """The latest refusal or break: its name, and in which call (`login`, `pull`, `push`, `cancel`)."""

    code: str
    call: str | None
    at: datetime | None


class Client(msgspec.Struct):
    """A device. What it says of itself (`name` to `app_version`) is read from its clientDescription, which is anything."""

    id: UUID
    user: Somebody
    name: str | None
    model: str | None
    system: str | None
    system_version: str | None
    app_version: str | None
    created_at: datetime
    signed_in: bool
    last_seen: datetime | None
    last_sync: datetime | None
    """The end of its latest whole sync."""
    pulled: int | None
    """Rows that its latest pull brought."""
    pushed: int | None
    """Rows that its latest whole sync sent."""
    took_ms: int | None
    syncing_since: datetime | None
    """The beginning of the sync under way."""
    behind: int
    """Changes of other devices that it has not got yet, counted up to 1,000."""
    pending_uploads: int
    """Calls that have arrived in part."""
    kept_aside: int
    """Changes of it that could not be stored, and that nobody has looked at."""
    last_error: LastError | None
    trouble: str | None
    """Why it does not sync, as far as the server knows: `user_locked`, `never_synced`, `signed_out`, `unfinished`,
    `silent` (nothing was heard of it for a week), or the code of an error since its latest sync. Null: nothing
    is known to be wrong.
    """


class Stopped(msgspec.Struct):
    """`changed` is false where no sync was under way."""

    changed: bool


@get("/realms/{realm_name:str}/clients", opt=needs(Role.VIEWER), tags=["clients"])
async def list_clients(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    user: OfUser = None,
    not_synced_since: Annotated[
        datetime | None, QueryParameter(description="Only devices without a whole sync since this time (RFC 3339)")
    ] = None,
    search: Annotated[
        str | None,
        QueryParameter(max_length=255, description="A part of the device's description or the user's address"),
    ] = None,
    troubled: Annotated[bool, QueryParameter(description="Only devices that have a `trouble`")] = False,
) -> Page[Client]:
    """Devices, those first that have not synced for longest.

    With `troubled` a page looks at 2,000 devices: it may have fewer than `limit`, or none, and `next` goes on; there is no
    `total`.
    """
    before = None if not_synced_since is None else milliseconds(not_synced_since, 0)
    wanted = Wanted(user, before, storable(search, "search") if search else None)
    after = paging.after(tuple[int, UUID])
    if troubled:
        some, following = await realm.read(lambda tx: devices.troubled(tx, wanted, after, paging.limit))
        return paging.part([shown(device) for device in some], following)
    found = await realm.read(lambda tx: devices.page(tx, wanted, after, paging.fetch))
    total = await realm.read(lambda tx: devices.count(tx, wanted))
    return paging.page(found, lambda device: device.place, total, shown)


@get(_ONE, opt=needs(Role.VIEWER), tags=["clients"])
async def get_client(realm: NamedDependency[Realm], client_id: FromPath[UUID]) -> Success[Client]:
    """One device."""
    return Success(shown(await realm.read(lambda tx: devices.one(tx, client_id))))


@post(f"{_ONE}/cancel-sync", status_code=200, opt=needs(Role.TECHNICIAN), tags=["clients"])
async def cancel_sync(
    realm: NamedDependency[Realm], acting: NamedDependency[Acting], client_id: FromPath[UUID]
) -> Success[Stopped]:
    """End the sync under way, so that the device can begin another one at once. Nothing is lost."""

    async def stop(tx: Tx) -> bool:
        stopped = await devices.stop_sync(tx, client_id)
        if stopped:
            await audit.record(tx, acting, action="client.cancel_sync", entity="client", entity_id=client_id)
        return stopped

    return Success(Stopped(await realm.transact(stop)))


@post(f"{_ONE}/sign-out", status_code=200, opt=needs(Role.TECHNICIAN), tags=["clients"])
async def sign_out_client(
    realm: NamedDependency[Realm], acting: NamedDependency[Acting], client_id: FromPath[UUID]
) -> Success[None]:
    """Void the device's tokens. It signs in again by itself as long as the password that it stores is right."""

    async def sign_out(tx: Tx) -> None:
        await devices.sign_out(tx, client_id)
        await audit.record(tx, acting, action="client.sign_out", entity="client", entity_id=client_id)

    await realm.transact(sign_out)
    return Success(None)


@delete(_ONE, status_code=200, opt=needs(Role.TECHNICIAN), tags=["clients"])
async def remove_client(
    realm: NamedDependency[Realm], acting: NamedDependency[Acting], client_id: FromPath[UUID]
) -> Success[None]:
    """Remove a device, such as a lost one. What it has synced stays; to sync again it has to be registered again."""
    begun = False

    async def remove(tx: Tx) -> None:
        nonlocal begun
        try:
            device = await devices.one(tx, client_id)
        except DeviceNotFound:
            if begun:
                return  # done, but the commit's answer was lost
            raise
        begun = True
        await devices.remove(tx, client_id)
        old = {"details": device.details, "last_sync": device.last_sync}
        subject = device.user_id
        await audit.record(
            tx, acting, action="client.remove", entity="client", entity_id=client_id, old=old, subject=subject
        )

    await realm.transact(remove)
    return Success(None)


def shown(device: Device) -> Client:
    """A device as the API shows it."""
    error = None if device.error is None else LastError(device.error, device.error_call, time_of(device.error_at))
    return Client(
        device.id,
        Somebody(device.user_id, device.email),
        *descriptions.read(device.details),
        device.created_at,
        device.signed_in,
        time_of(device.seen),
        time_of(device.last_sync),
        device.pulled,
        device.pushed,
        device.took,
        time_of(device.sync_started),
        device.behind,
        device.uploads,
        device.kept_aside,
        error,
        device.trouble,
    )


ROUTES = [list_clients, get_client, cancel_sync, sign_out_client, remove_client]
