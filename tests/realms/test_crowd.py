"""However many devices begin a sync at once, one process has no more under way than `limits.syncs` says."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import psycopg
import pytest

from realms.test_together import devices, run
from sync_server.accounts.tokens import Device
from sync_server.errors import TooManySyncs
from sync_server.limits import Limits
from sync_server.realms import Realm
from sync_server.room import Room
from sync_server.sync import calls


def crowded(realm: Realm, most: int) -> Realm:
    """The realm with room for so many, of whom none has been counted."""
    settings = msgspec.structs.replace(realm.settings, limits=Limits(syncs=most))
    return dataclasses.replace(realm, settings=settings, room=Room())


async def pull(realm: Realm, device: Device) -> bool:
    """Whether the device's pull was let in."""
    body = json.dumps({"clientId": str(device.client_id), "lastSync": 0, "changes": []}).encode()
    try:
        await calls.pull(realm, device, cast("Any", None), body)
    except TooManySyncs:
        return False
    return True


async def come(realm: Realm, coming: Sequence[Device]) -> list[bool]:
    return await asyncio.gather(*(pull(realm, device) for device in coming))


def under_way(url: str) -> int:
    with psycopg.connect(url) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM sync.syncs WHERE sync_started IS NOT NULL").fetchall()
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("most", [1, 2, 3, 24])
def test_no_more_are_under_way_than_may_be_when_all_come_at_once(new_database: Callable[[], str], most: int) -> None:
    url = new_database()
    known = devices(url, most + 60)

    async def crowd(realm: Realm) -> None:
        place = crowded(realm, most)
        let_in = await come(place, known)
        assert 0 < let_in.count(True) <= most
        assert under_way(url) == let_in.count(True)
        for device in known:  # one after the other, until it is full; those that are in may come again
            await pull(place, device)
        assert under_way(url) == most

    run(url, crowd)


def test_each_is_told_of_the_others_only_by_one_count(new_database: Callable[[], str]) -> None:
    url = new_database()
    known = devices(url, 6)

    async def crowd(realm: Realm) -> None:
        full = crowded(realm, 3)
        assert [await pull(full, device) for device in known[:3]] == [True] * 3
        before = realm.counts["calls"]
        assert await come(full, known[3:]) == [False] * 3
        assert realm.counts["calls"] == before + 1
        assert [await pull(full, device) for device in known[:4]] == [True, True, True, False]
        await asyncio.to_thread(end, url, known[0])
        assert [await pull(full, device) for device in known[1:5]] == [True, True, True, False]

    run(url, crowd)


def end(url: str, device: Device) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE sync.syncs SET sync_started = NULL WHERE client_id = %s", [device.client_id])


def test_those_that_do_not_come_after_all_take_no_place(new_database: Callable[[], str]) -> None:
    """Their token was revoked between the check of it and the pull."""
    url = new_database()
    known = devices(url, 3)
    revoked = [msgspec.structs.replace(device, session=7) for device in known]

    async def crowd(realm: Realm) -> None:
        place = crowded(realm, 1)
        for device in revoked:
            with pytest.raises(Exception, match="token"):
                await pull(place, device)
        assert await pull(place, known[0])
        assert not await pull(place, known[1])

    run(url, crowd)
