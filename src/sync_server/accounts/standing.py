"""What is stored of the devices that call: whether their tokens are good, and how their session and sync stand."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from sync_server.accounts.tokens import Device
from sync_server.database import Tx
from sync_server.errors import TokenRejected
from sync_server.realms import Realm

_BITS = 48
"""Of the number of a client's first sync: tokens of before a crash have another one, and it can be counted up for ever."""


class Standing(NamedTuple):
    """Of a device whose token is good. `number`: which of those that were asked for, from 1 on."""

    number: int
    refresh_id: str | None
    refresh_previous: str | None
    sync_number: int | None
    """None where no number is known, as after a crash of the database."""
    syncing: bool
    """Whether a sync is under way, or was broken off."""
    refresh_age: int
    """ms."""
    quiet: bool | None
    """See Device.quiet. None where nothing is known."""


async def sync_number(tx: Tx, device: Device) -> int:
    """The number of the client's latest sync, for its tokens; a new one where none is known. Raises TokenRejected."""
    number: int | None = await tx.value("number_syncs", {**device.parameters, "number": secrets.randbits(_BITS)})
    if number is None:
        raise TokenRejected  # the client has just gone
    return number


async def of_device(realm: Realm, device: Device) -> Standing | None:
    """None where its token has been revoked."""
    return await realm.read_together(_of_devices, device)


async def _of_devices(tx: Tx, devices: Sequence[Device]) -> Sequence[Standing | None]:
    claims = {
        "client_ids": [device.client_id for device in devices],
        "user_ids": [device.user_id for device in devices],
        "sessions": [device.session for device in devices],
        "epochs": [device.epoch for device in devices],
    }
    found = {standing.number: standing for standing in await tx.all(Standing, "sessions_of_devices", claims)}
    return [found.get(number) for number in range(1, len(devices) + 1)]
