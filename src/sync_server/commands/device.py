"""`sync-server device`: the devices of a realm's users."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from sync_server import audit
from sync_server.accounts import management
from sync_server.commands import realms, tables
from sync_server.commands.options import CONFIG
from sync_server.config import Config
from sync_server.database import Tx
from sync_server.realms import Realm
from sync_server.stored import descriptions, devices
from sync_server.stored.devices import Device, Place, Wanted

_PAGE = 500
_DAY = 86_400_000
_COLUMNS = ("id", "user", "name", "model", "last_sync", "behind", "kept_aside", "trouble")
_REALM = click.option("--realm", required=True, help="The realm.")


@click.group()
def device() -> None:
    """The devices of a realm's users: list them, see what troubles them, remove one."""


@device.command("list")
@CONFIG
@_REALM
@click.option("--user", "email", help="Only those of the user with this address.")
@click.option(
    "--not-synced", type=click.IntRange(0, 36_500), metavar="DAYS", help="Only those that have not for so long."
)
@click.option("--search", help="Only those with this in what they say of themselves, or in the user's address.")
@click.option("--troubled", is_flag=True, help="Only those that have a trouble.")
@tables.JSON
def list_devices(
    path: Path,
    realm: str,
    email: str | None,
    not_synced: int | None,
    search: str | None,
    *,
    troubled: bool,
    as_json: bool,
) -> None:
    """List devices, those first that have not synced for longest; `trouble` says why, as far as the server knows."""

    async def look(_: Config, found: Realm) -> list[Device]:
        wanted = await found.read(functools.partial(_wanted, email=email, days=not_synced, search=search))
        listed: list[Device] = []
        while True:
            after = listed[-1].place if listed else None
            page = await found.read(functools.partial(_page, wanted=wanted, after=after))
            listed += page
            if len(page) < _PAGE:
                return [device for device in listed if device.trouble or not troubled]

    tables.show(_COLUMNS, map(_shown, realms.within(path, realm, look)), as_json=as_json)


async def _wanted(tx: Tx, email: str | None, days: int | None, search: str | None) -> Wanted:
    user_id = None if email is None else (await management.find(tx, email)).id
    before = None if days is None else await tx.value("database_time", {}) - days * _DAY
    return Wanted(user_id, before, search)


async def _page(tx: Tx, wanted: Wanted, after: Place | None) -> Sequence[Device]:
    return await devices.page(tx, wanted, after, _PAGE)


@device.command()
@CONFIG
@_REALM
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("identity", metavar="ID", type=click.UUID)
def remove(path: Path, realm: str, identity: UUID, *, yes: bool) -> None:
    """Remove a device, such as a lost one, by its id.

    What it has synced stays. What it has not is lost to the server, unless it registers again.
    """
    if not yes:
        click.confirm(f"Remove device {identity} from realm {realm}?", abort=True, err=True)

    async def forget(tx: Tx) -> None:
        found = await devices.one(tx, identity)
        await devices.remove(tx, identity)
        old = {"details": found.details, "last_sync": found.last_sync}
        who: dict[str, Any] = {"entity": "client", "entity_id": identity, "subject": found.user_id}
        await audit.record(tx, realms.ACTING, action="client.remove", old=old, **who)

    realms.within(path, realm, lambda _, found: found.transact(forget))
    click.echo(f"Device {identity} is gone")


def _shown(found: Device) -> dict[str, Any]:
    description = descriptions.read(found.details)
    return {
        "id": str(found.id),
        "user": found.email,
        **description._asdict(),
        "created_at": found.created_at,
        "signed_in": found.signed_in,
        "last_seen": _time(found.seen),
        "last_sync": _time(found.last_sync),
        "pulled": found.pulled,
        "pushed": found.pushed,
        "took_ms": found.took,
        "syncing_since": _time(found.sync_started),
        "behind": found.behind,
        "pending_uploads": found.uploads,
        "kept_aside": found.kept_aside,
        "error": found.error,
        "error_call": found.error_call,
        "error_at": _time(found.error_at),
        "trouble": found.trouble,
    }


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
