"""Devices that something is wrong with, among many with which nothing is."""

from __future__ import annotations

import pytest

from operators import within
from sync_server.database import Tx
from sync_server.stored import devices
from sync_server.stored.devices import Device, Place, Wanted
from users import User


def test_a_page_looks_at_so_many_and_the_next_goes_on(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_LOOK", 2)
    monkeypatch.setattr(devices, "_LOOKS", 1)
    found = [user.device() for _ in range(7)]
    for device in found[:-1]:
        device.sync()
    query = "SELECT id AS user_id FROM sync.users WHERE email = %s"
    wanted = Wanted(user.connection.execute(query, [user.email]).fetchall()[0]["user_id"])
    user.connection.execute("UPDATE sync.clients SET refresh_id = NULL WHERE id = %s", [found[5].client_id])
    pages, after = [], None
    while True:

        async def look(tx: Tx, place: Place | None = after) -> tuple[list[Device], Place | None]:
            return await devices.troubled(tx, wanted, place, 10)

        page, after = within(user.connection, look)
        pages.append([str(device.id) for device in page])
        if after is None:
            break
    assert pages == [[found[6].client_id], [], [], [found[5].client_id]]
