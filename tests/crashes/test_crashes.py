"""PostgreSQL crashes in the middle of syncs: what was acknowledged is there, the syncs are not, and devices get on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crashes.conftest import Home
from device import Device, Refused, Unauthorized
from instances.storm import Storm
from users import User, sync_all
from wire import Answer, On, Request, encode, keep, lose_answer, meanwhile

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")
PULL_FIRST = "You should pull before pushing"
WANTED = {("todos", "1"): {"title": "acknowledged"}, ("todos", "2"): {"title": "pending"}}


def request(device: Device, call: str, changes: list[dict[str, Any]], *, partial: bool = False) -> Request:
    """The call as the device would send it now, with the token that it has."""
    body = encode(device.body(changes, int(partial), None))
    return Request(f"/{call}/main/{device.client_id}", body, f"Bearer {device.state.access}")


def refused(answer: Answer) -> str:
    assert answer.status == 409, answer
    return answer.message


def titles(user: User) -> list[str]:
    return sorted(line["rowguid"] for line in user.history())


@pytest.mark.parametrize("crash", [Home.crash, Home.stop_at_once, Home.lose_a_process])
def test_a_crash_forgets_the_sync_under_way_and_nothing_that_was_acknowledged(
    home: Home, crash: Callable[[Home], None]
) -> None:
    user = home.user()
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "acknowledged"})
    sync_all(phone, tablet)
    before = user.client(phone)
    phone.insert("todos", "2", {"title": "pending"})
    phone.pull()
    crash(home)
    assert home.syncs() == 0
    assert user.rows().keys() == {("todos", "1")}
    durable = ("push_digest", "push_answer", "acknowledged", "first_stamp", "session", "last_sync")
    after = user.client(phone)
    assert [after[name] for name in durable] == [before[name] for name in durable]
    assert PULL_FIRST in refused(phone.send(request(phone, "push", phone.pending())))
    with pytest.raises(Refused, match=PULL_FIRST):
        phone.push(phone.pending())  # having refreshed
    assert user.rows().keys() == {("todos", "1")}
    phone.cancel()
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == WANTED
    assert titles(user) == ["1", "2"]


def edit_nothing(_: Device) -> None:
    pass


def edit(phone: Device) -> None:
    phone.update("todos", "1", {"title": "edited"})


@pytest.mark.parametrize("edits", [edit_nothing, edit])
@pytest.mark.parametrize("cursor", [True, False], ids=["later", "first"])
def test_a_copy_of_a_pull_of_before_the_crash_begins_nothing(
    home: Home, cursor: bool, edits: Callable[[Device], None]
) -> None:
    """Else the device's next token would belong to the copy's sync, and it would never hear of what came in between (G2)."""
    user = home.user()
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "x"})
    if cursor:
        phone.sync()
    edits(phone)
    copies: list[Request] = []
    phone.transport = On("/pull", keep(copies))
    phone.pull()
    home.crash()
    assert copy_is_void(user, phone, copies[0])
    phone.fetch_token()
    assert copy_is_void(user, phone, copies[0])
    pulled = phone.pull()
    tablet.insert("todos", "2", {"title": "in between"})
    tablet.sync()
    began = user.client(phone)
    assert home.wire.send(copies[0]).status == 403
    assert user.client(phone) == began
    cursor_after = phone.push(phone.pending())
    assert cursor_after == pulled["lastSync"], "the tablet's row is yet to come"
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows
    assert phone.state.rows.keys() == {("todos", "1"), ("todos", "2")}


def copy_is_void(user: User, phone: Device, copy: Request) -> bool:
    answer = phone.send(copy)
    return answer.status == 403 and user.client(phone)["sync_started"] is None


def test_a_device_whose_token_is_void_for_a_pull_gets_another_one_and_pulls(home: Home) -> None:
    """As when the crash comes between the refresh and the pull: sync_client asks for a token and tries again."""
    user = home.user()
    phone = user.device()
    phone.insert("todos", "1", {"title": "x"})
    pulls: list[Request] = []

    def crash_first(request: Request, send: Callable[[Request], Answer]) -> Answer:
        pulls.append(request)
        if len(pulls) == 1:
            home.crash()
        return send(request)

    phone.transport = On("/pull", crash_first, times=9)
    phone.sync()
    assert len({pull.authorization for pull in pulls}) == 2
    assert titles(user) == ["1"]


@pytest.mark.parametrize("again", ["same token", "next token"])
def test_a_push_whose_answer_was_lost_is_answered_the_same_after_a_crash(home: Home, again: str) -> None:
    user = home.user()
    phone = user.device()
    phone.insert("todos", "1", {"title": "x"})
    phone.pull()
    phone.fetch_token()
    push = request(phone, "push", phone.pending())
    answer = phone.send(push)
    assert answer.status == 200
    home.crash()
    if again == "next token":
        phone.fetch_token()
        push = request(phone, "push", phone.pending())
    assert phone.send(push) == answer
    assert titles(user) == ["1"]
    phone.sync()
    assert titles(user) == ["1"]


def test_a_sync_whose_last_answer_is_lost_in_a_crash_succeeds(home: Home) -> None:
    """The answer is lost, the app sends the push again as sync_client does, to a PostgreSQL that has crashed meanwhile."""
    user = home.user()
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "x"})

    def lose_it_in_a_crash(request: Request, send: Callable[[Request], Answer]) -> Answer:
        try:
            return lose_answer(request, send)
        finally:
            home.crash()

    phone.transport = On("/push", lose_it_in_a_crash)
    phone.sync()
    assert phone.state.log == []
    sync_all(tablet, phone)
    assert tablet.state.rows == phone.state.rows == {("todos", "1"): {"title": "x"}}
    assert titles(user) == ["1"]


def test_parts_that_came_before_a_crash_are_stored_once(home: Home) -> None:
    user = home.user()
    phone, tablet = user.device(part=2), user.device()
    for number in range(5):
        phone.insert("todos", str(number), {"title": str(number)})
    phone.transport = On("/push", meanwhile(home.crash), first=2)
    with pytest.raises(Refused, match=PULL_FIRST):
        phone.sync()
    assert titles(user) == ["0", "1"]
    assert len(phone.state.log) == 5
    sync_all(phone, tablet)
    assert titles(user) == [str(number) for number in range(5)]
    assert tablet.state.rows == phone.state.rows
    assert user.overridden() == []


def test_a_sync_that_was_cancelled_or_never_begun_is_so_after_a_crash(home: Home) -> None:
    user = home.user()
    phone = user.device()
    phone.pull()
    home.crash()
    answer = phone.call("/cancelSync/main", {"clientId": phone.client_id}, f"Bearer {phone.state.access}")
    assert answer["code"] == 200
    phone.sync()


def test_a_token_of_before_the_crash_is_void_for_pulls_only(home: Home) -> None:
    user = home.user()
    phone = user.device()
    phone.sync()
    old = phone.state.access
    home.crash()
    with pytest.raises(Unauthorized):
        phone.call(f"/pull/main/{phone.client_id}", phone.body([], 0, 0), f"Bearer {old}")
    with pytest.raises(Refused, match=PULL_FIRST):
        phone.call(f"/push/main/{phone.client_id}", phone.body(NEW, 0, 0), f"Bearer {old}")
    phone.call("/cancelSync/main", {"clientId": phone.client_id}, f"Bearer {old}")
    assert user.rows() == {}


NEW = [{"operation": "I", "rowguid": "9", "tablename": "todos", "clientdate": 1, "rowData": {"title": "x"}}]


def test_a_restart_in_good_order_keeps_the_syncs_under_way(home: Home) -> None:
    user = home.user()
    phone = user.device()
    phone.insert("todos", "1", {"title": "x"})
    phone.pull()
    before = user.client(phone)
    home.restart()
    assert user.client(phone) == before
    answer = phone.send(request(phone, "push", phone.pending()))
    assert answer.status == 200
    assert user.rows().keys() == {("todos", "1")}


@pytest.mark.long
def test_a_storm_goes_on_over_crashes(home: Home) -> None:
    storm = Storm([home.user() for _ in range(2)])
    with storm.raging():
        for _ in range(3):
            storm.until_synced(2)
            home.crash()
        storm.until_synced(2)
    storm.check()
