"""Devices: how their syncs go, why not, and what an operator can do about it, over HTTP."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from admin.people import NewPerson, Person, data, refused
from device import Device, Refused, Unauthorized, unhindered
from users import NewUser, User, change, sync_all
from wire import On, Request, direct, keep

DAY = 86_400_000


@pytest.fixture(scope="module")
def technician(new_person: NewPerson) -> Person:
    return new_person("technician")


def clients(person: Person, device: Device | str = "", path: str = "") -> str:
    identity = device.client_id if isinstance(device, Device) else device
    return f"/realms/{person.realm}/clients" + (f"/{identity}{path}" if identity else "")


def user_id(user: User) -> str:
    [found] = user.connection.execute("SELECT id FROM sync.users WHERE email = %s", [user.email]).fetchall()
    return str(found["id"])


def age(user: User, device: Device, days: int) -> None:
    back = "UPDATE sync.clients SET last_sync = last_sync - %s WHERE id = %s"
    user.connection.execute(back, (days * DAY, device.client_id))


def test_which_devices_have_not_synced_for_ten_days_and_why(technician: Person, new_user: NewUser) -> None:
    """The scenario of an operator on a Monday morning."""
    ann, bob = new_user(), new_user()
    fine, forgotten, silent, out = (ann.device() for _ in range(4))
    locked = bob.device()
    for user, device in ((ann, fine), (ann, forgotten), (ann, silent), (ann, out), (bob, locked)):
        device.insert("todos", device.client_id, {"title": "x"})
        device.sync()
        if device is not fine:
            age(user, device, 11)
    new = ann.device()
    forgotten.state.access = forgotten.state.refresh = None
    forgotten.state.password = "before it was changed"
    with pytest.raises(Unauthorized):
        forgotten.sync()
    data(technician.call("POST", clients(technician, out, "/sign-out")))
    bob.connection.execute("UPDATE sync.users SET active = false WHERE id = %s", [user_id(bob)])

    since = (datetime.now(UTC) - timedelta(days=10)).isoformat()
    wanted = {"user": user_id(ann), "not_synced_since": since}
    for _ in range(600):
        found = {one["id"]: one for one in technician.get(clients(technician), **wanted)}
        if found[forgotten.client_id]["last_error"]:
            break
        time.sleep(0.1)  # devices' calls are reported every few seconds
    why = {identity: one["trouble"] for identity, one in found.items()}
    assert why == {
        forgotten.client_id: "login_rejected",
        silent.client_id: None,
        out.client_id: "signed_out",
        new.client_id: "never_synced",
    }
    assert found[forgotten.client_id]["last_error"]["call"] == "login"
    assert found[forgotten.client_id]["last_error"]["at"] > since
    assert found[silent.client_id]["last_seen"] > since, "the test put back the sync, not what was seen"
    ann.connection.execute(
        "UPDATE sync.device_status SET seen = seen - 11 * 86400000, pulled_at = 0, synced_at = 0 WHERE client_id = %s",
        [silent.client_id],
    )
    assert technician.get(clients(technician, silent))["trouble"] == "silent"
    [of_bob] = technician.get(clients(technician), user=user_id(bob), not_synced_since=since)
    assert of_bob["trouble"] == "user_locked"


def test_those_in_trouble_are_found_among_the_others(technician: Person, user: User) -> None:
    expected = []
    for number in range(6):
        device = user.device()
        if number != 0:
            device.sync()
            age(user, device, 6 - number)
        if number in {2, 5}:
            data(technician.call("POST", clients(technician, device, "/sign-out")))
        if number in {0, 2, 5}:
            expected.append(device.client_id)
    for limit in (1, 2, 3, 200):
        assert all_troubled(technician, user, limit) == expected


def all_troubled(technician: Person, user: User, limit: int) -> list[str]:
    found: list[str] = []
    wanted: dict[str, Any] = {"user": user_id(user), "troubled": "true", "limit": limit}
    for _ in range(5):
        answer = technician.call("GET", clients(technician), params=wanted)
        page = [one["id"] for one in data(answer)]
        assert len(page) <= limit
        found += page
        pagination = answer.json()["meta"]["pagination"]
        if pagination["next"] is None:
            return found
        wanted["cursor"] = pagination["next"]
    raise AssertionError(found)


def test_a_device_is_shown_with_what_an_operator_needs(technician: Person, user: User) -> None:
    phone, tablet = user.device(), user.device()
    sync_all(phone, tablet)
    for number in range(3):
        phone.insert("todos", str(number), {"title": "x"})
    phone.sync()
    found = technician.get(clients(technician, tablet))
    assert (found["user"]["email"], found["name"], found["system"]) == (user.email, "Ann's phone", "iOS")
    assert (found["behind"], found["signed_in"], found["trouble"]) == (3, True, None)
    assert technician.get(clients(technician, phone))["behind"] == 0
    tablet.sync()
    assert technician.get(clients(technician, tablet))["behind"] == 0


def test_its_own_changes_do_not_put_a_device_behind(technician: Person, user: User) -> None:
    """It has not got the other's, so its cursor is before both."""
    phone, tablet = user.device(), user.device()
    phone.pull([])
    tablet.insert("todos", "1", {"title": "x"})
    tablet.sync()
    phone.push([change("I", guid, 1, {"title": "x"}) for guid in ("2", "3")])
    assert technician.get(clients(technician, phone))["behind"] == 1


def test_pages_give_each_device_once_the_longest_unsynced_first(technician: Person, user: User) -> None:
    devices = [user.device() for _ in range(5)]
    for number, device in enumerate(devices[:4]):
        device.sync()
        age(user, device, number)
    expected = [device.client_id for device in [devices[4], *reversed(devices[:4])]]
    for limit in (1, 2, 5):
        found: list[str] = []
        cursor: dict[str, str] = {}
        for _ in range(6):
            answer = technician.call(
                "GET", clients(technician), params={"user": user_id(user), "limit": limit, **cursor}
            )
            found += [one["id"] for one in data(answer)]
            pagination = answer.json()["meta"]["pagination"]
            assert pagination["total"] == 5
            if pagination["next"] is None:
                break
            cursor = {"cursor": pagination["next"]}
        assert found == expected
    assert len(technician.get(clients(technician), search=user.email[:20].upper())) == 5
    assert technician.get(clients(technician), search="%", user=user_id(user)) == []


def test_a_sync_under_way_can_be_ended_and_nothing_is_lost(technician: Person, user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", {"title": "x"})
    phone.pull()
    assert technician.get(clients(technician, phone))["syncing_since"] is not None
    assert data(technician.call("POST", clients(technician, phone, "/cancel-sync"))) == {"changed": True}
    assert data(technician.call("POST", clients(technician, phone, "/cancel-sync"))) == {"changed": False}
    with pytest.raises(Refused, match="You should pull before pushing"):
        phone.push(phone.pending())
    phone.sync()
    assert ("todos", "1") in user.rows()


def test_a_copy_of_the_pull_of_a_sync_that_was_ended_begins_no_other(technician: Person, user: User) -> None:
    """Else the device, which goes on, would get hold of the copy's sync, and never hear of what came after its pull (G2)."""
    phone, tablet = user.device(), user.device()
    pulls: list[Request] = []
    statuses = []

    def befall(step: str) -> None:
        if step == "applied":
            tablet.sync()
            data(technician.call("POST", clients(technician, phone, "/cancel-sync")))
            statuses.append(phone.send(pulls[0]).status)

    phone.insert("todos", "1", {"title": "x"})
    tablet.insert("todos", "2", {"title": "y"})
    phone.transport, phone.step = On("/pull", keep(pulls)), befall
    assert not phone.tries_to_sync()
    assert statuses == [403]
    phone.transport, phone.step = direct, unhindered
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows
    assert len(phone.state.rows) == 2


def test_a_signed_out_device_signs_in_again_with_its_password(technician: Person, user: User) -> None:
    phone = user.device()
    phone.sync()
    token = phone.state.access
    data(technician.call("POST", clients(technician, phone, "/sign-out")))
    with pytest.raises(Unauthorized):
        phone.call(f"/pull/{phone.realm}", phone.body([], 0, None), f"Bearer {token}")
    phone.sync()
    assert technician.get(clients(technician, phone))["signed_in"] is True


def test_a_removed_device_is_gone_and_its_rows_stay(technician: Person, user: User) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "x"})
    phone.sync()
    data(technician.call("DELETE", clients(technician, phone)))
    refused(technician.call("DELETE", clients(technician, phone)), 404, "client_not_found")
    with pytest.raises(Unauthorized):
        phone.sync()
    tablet.sync()
    assert ("todos", "1") in tablet.state.rows
    [line] = user.connection.execute(
        "SELECT action, user_id FROM sync.audit_lines WHERE entity_id = %s", [phone.client_id]
    ).fetchall()
    assert (line["action"], str(line["user_id"])) == ("client.remove", technician.id)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", "/cancel-sync"), ("POST", "/sign-out"), ("DELETE", "")]
)
def test_a_device_of_another_realm_is_not_there(new_person: NewPerson, user: User, method: str, path: str) -> None:
    phone = user.device()
    stranger = new_person("technician", realm="other")
    refused(stranger.call(method, clients(stranger, phone, path)), 404, "client_not_found")
    refused(stranger.call(method, clients(stranger, str(uuid4()), path)), 404, "client_not_found")


@pytest.mark.parametrize("wrong", [{"not_synced_since": "ten days"}, {"user": "1"}, {"search": "x" * 256}])
def test_filters_are_validated(technician: Person, wrong: dict[str, Any]) -> None:
    assert list(refused(technician.call("GET", clients(technician), params=wrong), 422, "invalid")["fields"]) == list(
        wrong
    )
