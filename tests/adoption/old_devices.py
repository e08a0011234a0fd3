"""The devices that synced with the old server, as sync_client goes on after the move: it knows nothing of it."""

from __future__ import annotations

from adoption.old_tables import WRITTEN
from device import Device, Row, State
from wire import Send

NAMES = tuple(WRITTEN["cursors"])


def old_device(name: str, send: Send, realm: str, rows: dict[tuple[str, str], Row] | None = None) -> Device:
    """A device of the fixture, with its cursor, password and old tokens."""
    held = WRITTEN["cursors"][name]
    state = State(
        rows=rows or {},
        cursor=held["lastSync"],
        client_id=held["clientId"],
        email=held["email"],
        password=held["password"],
        access=held["accessToken"],
        refresh=held["refreshToken"],
    )
    return Device(send, realm, tables=("notes", "todos", "lists"), state=state)


def pulled(device: Device) -> dict[str, str]:
    """What the device's last pull delivered: operations by guid."""
    assert len({row["rowguid"] for row in device.pulled}) == len(device.pulled), "a row came twice in one pull"
    return {row["rowguid"]: row["operation"] for row in device.pulled}
