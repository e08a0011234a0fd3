"""G8: no token reaches anything of another user, client or realm."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from device import Device, Unauthorized
from users import NewUser, User, change, sync_all
from wire import Answer, Request, Server, encode

CALLS = ["pull", "push", "cancelSync", "unregister"]


@dataclass
class Home:
    """A user's device with a row, in the middle of a sync."""

    user: User
    device: Device

    @property
    def state(self) -> Any:
        return self.user.rows(), self.user.history(), self.user.client(self.device), self.user.clock


def home(user: User) -> Home:
    device = user.device()
    device.insert("todos", "1", {"title": f"of {user.email}"})
    device.sync()
    device.pull()
    device.fetch_token()
    return Home(user, device)


@pytest.fixture
def victim(user: User) -> Home:
    return home(user)


@pytest.fixture
def attacker(stranger: User) -> Home:
    return home(stranger)


def post(device: Device, token: str | None, path: str, body: Any) -> Answer:
    return device.send(Request(path, encode(body), None if token is None else f"Bearer {token}"))


def body_of(call: str, device: Device) -> dict[str, Any]:
    state = device.state
    if call == "unregister":
        return {"email": state.email, "password": state.password, "clientId": state.client_id, "deleteRemoteData": True}
    return {"clientId": state.client_id, "lastSync": 0, "isPartial": 0, "changes": [change("D", "1", 9 * 10**12)]}


def test_g8_a_rowguid_used_by_two_users_names_two_rows(victim: Home, attacker: Home) -> None:
    assert victim.user.rows()["todos", "1"]["row_data"] != attacker.user.rows()["todos", "1"]["row_data"]
    for one in (victim, attacker):
        one.device.cancel()
        another = one.user.device()
        another.sync()
        assert another.state.rows == {("todos", "1"): {"title": f"of {one.user.email}"}}


@pytest.mark.parametrize("call", CALLS)
def test_g8_a_token_does_not_act_for_a_client_of_another_user(victim: Home, attacker: Home, call: str) -> None:
    before = victim.state
    answer = post(attacker.device, attacker.device.state.access, f"/{call}/main", body_of(call, victim.device))
    assert answer.status in (400, 403), answer
    assert answer.message
    assert victim.state == before


@pytest.mark.parametrize("call", ["pull", "push"])
def test_g8_nor_for_a_client_that_only_the_path_names(victim: Home, attacker: Home, call: str) -> None:
    before, body = (victim.state, attacker.state), body_of(call, attacker.device)
    path = f"/{call}/main/{victim.device.client_id}"
    assert post(attacker.device, attacker.device.state.access, path, body).status in (400, 403)
    del body["clientId"]
    assert post(attacker.device, attacker.device.state.access, path, body).status in (400, 403)
    assert (victim.state, attacker.state) == before


@pytest.mark.parametrize("call", ["pull", "push", "cancelSync"])
def test_g8_nor_for_another_client_of_the_same_user(victim: Home, call: str) -> None:
    other = victim.user.device()
    other.fetch_token()
    before = victim.state
    assert post(other, other.state.access, f"/{call}/main", body_of(call, victim.device)).status in (400, 403)
    assert victim.state == before


@pytest.mark.parametrize("call", CALLS)
def test_g8_a_token_of_one_realm_is_void_in_another(server: Server, new_user: NewUser, victim: Home, call: str) -> None:
    """Even when the other realm has the same user and the same client."""
    abroad = new_user(server.other_realm)
    abroad.email, abroad.password = victim.user.email, victim.user.password
    abroad.device()
    before = victim.state
    token = abroad.devices[0].state.access
    if token is None:
        abroad.devices[0].login()
        token = abroad.devices[0].state.access
    assert post(victim.device, token, f"/{call}/{server.realm}", body_of(call, victim.device)).status == 403
    token = victim.device.state.access
    body = body_of(call, victim.device)
    assert post(victim.device, token, f"/{call}/{server.other_realm}", body).status == 403
    assert victim.state == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("token", [None, "nonsense", "refresh"])
def test_g8_what_is_no_access_token_opens_nothing(victim: Home, call: str, token: str | None) -> None:
    before = victim.state
    bearer = victim.device.state.refresh if token == "refresh" else token
    assert post(victim.device, bearer, f"/{call}/main", body_of(call, victim.device)).status == 403
    assert victim.state == before


def test_g8_the_realm_may_be_written_in_any_case(victim: Home) -> None:
    """And its tokens are those of the realm, however it is written."""
    device = victim.device
    device.cancel()
    device.realm = "MaIn"
    device.insert("todos", "2", {})
    device.sync()
    device.realm = "main"
    device.insert("todos", "3", {})
    device.sync()
    assert len(victim.user.rows()) == 3


def test_g8_a_client_of_another_user_cannot_log_in(victim: Home, attacker: Home) -> None:
    thief = attacker.device
    thief.state.client_id = victim.device.client_id
    with pytest.raises(Unauthorized):
        thief.login()
    thief.state.client_id = str(uuid.uuid4())
    with pytest.raises(Unauthorized):
        thief.login()


def test_g8_devices_of_two_users_sync_side_by_side(user: User, stranger: User) -> None:
    phones = [user.device(), stranger.device(), user.device(), stranger.device()]
    for number, phone in enumerate(phones):
        phone.insert("todos", f"{number}", {"title": f"{number}"})
        phone.insert("notes", "same", {"title": f"{number % 2}"})
    sync_all(*phones)
    for number, phone in enumerate(phones):
        assert phone.state.rows.keys() == {
            ("todos", f"{number % 2}"),
            ("todos", f"{number % 2 + 2}"),
            ("notes", "same"),
        }
        assert phone.state.rows["notes", "same"] == {"title": f"{number % 2}"}


@pytest.mark.parametrize("leave", [False, True])
def test_g8_whoever_leaves_takes_nothing_of_others_along(new_user: NewUser, victim: Home, leave: bool) -> None:
    leaver = new_user()
    phone, tablet = leaver.device(), leaver.device()
    phone.insert("todos", "1", {"title": "mine"})
    sync_all(phone, tablet)
    before = victim.state
    space = leaver.space_id
    phone.unregister(delete_remote_data=leave)
    assert victim.state == before

    def remains(table: str) -> int:
        return len(leaver.connection.execute(f"SELECT 1 FROM sync.{table} WHERE space_id = %s", (space,)).fetchall())

    assert remains("rows") == remains("history") == (0 if leave else 1)
    if leave:
        with pytest.raises(Unauthorized):
            tablet.sync()
    else:
        tablet.sync()
        assert tablet.state.rows == {("todos", "1"): {"title": "mine"}}
