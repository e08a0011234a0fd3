"""Limits on calls, clients and syncs: generous by default, named in the refusal, and never met for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from conftest import Process
from device import Device, Refused, SyncFailed, Unauthorized
from limits.conftest import NewUser
from users import Connection, User, change, post_raw
from wire import Answer, encode


def limit_of(answer: Answer) -> dict[str, Any]:
    body = answer.json()
    assert body["code"] == answer.status
    limit: dict[str, Any] = body["limit"]
    assert limit["name"] in body["message"]
    assert str(limit["most"]) in body["message"]
    return limit


def test_by_default_20_000_rows_in_one_call_and_a_row_of_20_megabytes_pass(new_user: NewUser) -> None:
    user = new_user("main")
    phone = user.device()
    phone.pull([])
    phone.push([change("I", str(number), 1, {"n": number}) for number in range(20_000)], partial=True)
    phone.push([change("I", "large", 1, {"blob": "x" * 20_000_000})])
    assert len(user.rows()) == 20_001
    assert not user.kept_aside()


def test_too_many_rows_in_a_call_are_refused_by_name(user: User, process: Process) -> None:
    phone = user.device()
    phone.pull([])
    rows = [change("I", str(number), 1, {"n": number}) for number in range(21)]
    answer = post_raw(phone, f"/push/{phone.realm}", encode(phone.body(rows, 0, None)))
    assert answer.status == 413
    assert limit_of(answer) == {"name": "limits.rows_per_push", "most": 20}
    assert '"limit_met"' in process.log
    assert user.rows() == {}
    assert phone.push(rows[:20]) is not None  # the sync is still under way


def test_a_body_over_the_limit_is_refused_by_name(user: User) -> None:
    phone = user.device()
    answer = post_raw(phone, f"/push/{phone.realm}", b" " * (50 * 1024 * 1024 + 1))
    assert answer.status == 413
    assert limit_of(answer) == {"name": "server.max_body", "most": 50 * 1024 * 1024}


def test_one_client_too_many_is_refused_by_name(user: User) -> None:
    phone, tablet = user.device(), user.device()
    with pytest.raises(Refused, match=r"limits\.clients_per_user is 2") as refusal:
        user.device()
    assert refusal.value.status == 422
    tablet.unregister()
    user.devices.remove(tablet)
    user.device().sync()
    phone.sync()


def test_a_client_that_was_not_seen_for_long_gives_way(user: User) -> None:
    phone, lost = user.device(), user.device()
    phone.sync()
    lost.sync()
    age = """UPDATE sync.clients SET last_sync = last_sync - %(ms)s, refresh_issued = refresh_issued - %(ms)s,
        created_at = created_at - %(ms)s * interval '1 millisecond' WHERE id = %(id)s"""
    user.connection.execute(age, {"ms": 29 * 86_400_000, "id": lost.client_id})
    with pytest.raises(Refused, match="devices"):
        user.device()
    user.connection.execute(age, {"ms": 2 * 86_400_000, "id": lost.client_id})
    user.device().sync()
    phone.sync()
    with pytest.raises(Unauthorized):
        lost.sync()


def test_the_same_registration_again_is_not_one_more(user: User) -> None:
    user.device()
    tablet = user.device()
    body = {"email": user.email, "password": user.password, "clientId": tablet.client_id, "newRegistration": False}
    assert tablet.call(f"/register/{user.realm}", {"name": None, **body})["user"]["email"] == user.email


def begin(user: User) -> Device:
    device = user.device()
    device.pull([])
    return device


@pytest.fixture
def nobody_syncs(connections: dict[str, Connection]) -> None:
    connections["crowded"].execute("TRUNCATE sync.syncs")


@pytest.mark.usefixtures("nobody_syncs")
def test_a_sync_too_many_is_put_off_until_another_ends(new_user: NewUser) -> None:
    first, second = begin(new_user("crowded")), begin(new_user("crowded"))
    third = new_user("crowded").device()
    answer = post_raw(third, f"/pull/{third.realm}", encode(third.body([], 0, None)))
    assert answer.status == 503
    assert limit_of(answer) == {"name": "limits.syncs", "most": 2}
    first.pull([])  # its own sync is no hindrance
    first.push([])
    third.pull([])
    with pytest.raises(SyncFailed, match=r"limits\.syncs"):
        begin(new_user("crowded"))
    second.cancel()
    begin(new_user("crowded"))


def clock_was_ahead(user: User, device: Device) -> None:
    """The database's clock was wrong when the device's sync began."""
    ahead = "UPDATE sync.syncs SET sync_started = sync_started + 86400000 WHERE client_id = %s"
    user.connection.execute(ahead, (device.client_id,))


@pytest.mark.usefixtures("nobody_syncs")
@pytest.mark.parametrize("abandon", [User.two_minutes_pass, clock_was_ahead])
def test_an_abandoned_sync_takes_no_place(new_user: NewUser, abandon: Callable[[User, Device], None]) -> None:
    """After two minutes, or when it began in the future."""
    user = new_user("crowded")
    lost = begin(user)
    begin(new_user("crowded"))
    third = new_user("crowded").device()
    with pytest.raises(Refused):
        third.pull([])
    abandon(user, lost)
    third.pull([])


@pytest.mark.usefixtures("nobody_syncs")
def test_a_refusal_for_now_says_when_to_come_again(new_user: NewUser, process: Process) -> None:
    users = [new_user("crowded") for _ in range(3)]
    begin(users[0])
    begin(users[1])
    third = users[2].device()
    third.fetch_token()
    headers = {"Authorization": f"Bearer {third.state.access}"}
    answer = httpx.post(f"{process.url}/pull/crowded", json={"lastSync": 0}, headers=headers)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
