"""G5, G10: a call that arrives again changes nothing, and one that fails has stored nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from device import PART, Device, Offline
from users import User, at, change, post_raw, sync_all
from wire import Crash, On, Request, Transport, crash_after, crash_before, encode, hold, keep, lose_answer, twice


def title(device: Device) -> str | None:
    row = device.state.rows.get(("todos", "1"))
    return None if row is None else row["title"]


def fill(device: Device, count: int, word: str = "row") -> None:
    for number in range(count):
        device.insert("todos", f"{number}", {"title": f"{word} {number}"})


def everything(user: User) -> Any:
    """All that a call might change in the space."""
    return user.rows(), user.history(), user.overridden(), user.clock


# G5


@pytest.mark.parametrize("fault", [lose_answer, twice])
def test_g5_a_push_that_arrives_twice_is_applied_and_recorded_once(user: User, fault: Transport) -> None:
    phone = user.device()
    fill(phone, 2)
    phone.transport = On("/push", fault)
    phone.sync()
    assert len(user.rows()) == len(user.history()) == 2
    assert phone.state.cursor == user.clock
    phone.sync()
    assert not phone.pulled


def test_g5_the_final_push_again_gets_the_same_answer(user: User) -> None:
    phone, tablet = user.device(), user.device()
    answers = []

    def note(request: Request, send: Any) -> Any:
        answers.extend([send(request), send(request)])
        tablet.insert("todos", "between", {})
        tablet.sync()
        answers.append(send(request))
        return answers[-1]

    fill(phone, 2)
    phone.transport = On("/push", note)
    phone.sync()
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json()["lastSync"] for answer in answers}) == 1
    phone.sync()
    assert ("todos", "between") in phone.state.rows


def test_g5_the_end_of_an_empty_push_again_gets_the_same_answer(user: User) -> None:
    phone = user.device()
    phone.transport = On("/push", lose_answer)
    phone.sync()
    assert phone.state.cursor == user.clock


def test_g5_a_change_whose_final_answer_was_lost_is_recorded_once(user: User) -> None:
    phone = user.device()
    fill(phone, 2)
    phone.transport = On("/push", lose_answer, times=2)
    with pytest.raises(Offline):
        phone.sync()
    assert len(phone.state.log) == 2
    before = everything(user)
    phone.sync()
    assert not phone.state.log
    assert everything(user) == before


def test_g5_an_edit_made_after_a_lost_answer_is_not_undone_by_the_devices_own_older_version(user: User) -> None:
    """The client keeps the insert and its date, so only the data tells the new version from the stored one."""
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "first"})
    phone.transport = On("/push", lose_answer, times=2)
    assert not phone.tries_to_sync()
    phone.update("todos", "1", {"title": "second"})
    phone.sync()
    assert not phone.pulled
    tablet.sync()
    assert title(phone) == title(tablet) == "second"


def test_g5_a_repeated_part_is_recorded_once(user: User) -> None:
    phone, tablet = user.device(clock=at(1000)), user.device(clock=at(2000))
    fill(tablet, 3, "newer row")
    fill(phone, PART + 50)
    phone.transport = On("/push", lose_answer, first=1)
    phone.step = once_at("applied", tablet.sync)
    phone.sync()
    assert len(user.history()) == PART + 50
    assert len(user.overridden()) == 3
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows
    assert len(user.overridden()) == 3


def test_g5_the_loser_of_a_conflict_pushed_again_by_the_next_sync_is_recorded_once(user: User) -> None:
    phone, tablet = user.device(clock=at(1000)), user.device(clock=at(2000))
    tablet.insert("todos", "1", {"title": "newer"})
    phone.insert("todos", "1", {"title": "older"})
    tablet.sync()
    phone.transport = On("/push", lose_answer, times=2)
    assert not phone.tries_to_sync()
    phone.sync()
    assert title(phone) == "newer"
    assert len(user.overridden()) == 1


def test_g5_a_late_copy_of_a_push_undoes_nothing(user: User) -> None:
    phone, tablet = user.device(), user.device()
    late: list[Request] = []
    fill(phone, 2)
    phone.transport = On("/push", keep(late))
    sync_all(phone, tablet)
    tablet.update("todos", "1", {"title": "newer"})
    sync_all(tablet, phone)
    before = everything(user)
    assert phone.send(late[0]).status != 200
    assert everything(user) == before
    sync_all(phone, tablet)
    assert title(phone) == title(tablet) == "newer"


def test_g5_a_late_copy_undoes_nothing_in_the_middle_of_a_later_sync(user: User) -> None:
    """Its token carries the number of an earlier sync."""
    phone, tablet = user.device(), user.device()
    late: list[Request] = []
    fill(phone, 2)
    phone.transport = keep(late)
    phone.sync()
    pushed = next(request for request in late if request.path.startswith("/push"))
    phone.update("todos", "1", {"title": "newer"})
    statuses = []

    def arrives(name: str) -> None:
        if name == "applied":
            statuses.append(phone.send(pushed).status)

    phone.step = arrives
    phone.sync()
    assert statuses == [409]
    tablet.sync()
    assert title(tablet) == "newer"


def test_g5_a_push_that_was_held_up_until_a_later_sync_undoes_nothing(user: User) -> None:
    phone, tablet = user.device(), user.device()
    held: list[Request] = []
    phone.insert("todos", "1", {"title": "old"})
    phone.transport = On("/push", hold(held), times=2)
    assert not phone.tries_to_sync()
    phone.delete("todos", "1")
    phone.insert("todos", "1", {"title": "new"})
    phone.step = once_at("applied", lambda: [phone.send(request) for request in held])
    sync_all(phone, tablet)
    assert title(phone) == title(tablet) == "new"
    assert len(user.history()) == 1


@pytest.mark.parametrize("call", ["/pull", "/cancelSync"])
def test_g5_a_late_copy_of_another_call_does_not_end_the_sync_under_way(user: User, call: str) -> None:
    phone = user.device()
    late: list[Request] = []
    fill(phone, 1)
    phone.transport = On(call, keep(late))
    phone.sync()
    phone.insert("todos", "later", {})
    phone.step = once_at("applied", lambda: phone.send(late[0]))
    phone.sync()
    assert ("todos", "later") in user.rows()


@pytest.mark.parametrize("call", ["/login", "/pull", "/push", "/cancelSync"])
@pytest.mark.parametrize("count", [1, PART + 1])
def test_g5_late_copies_of_a_whole_sync_change_nothing(user: User, call: str, count: int) -> None:
    phone, tablet = user.device(), user.device()
    late: list[Request] = []
    fill(phone, count)
    phone.transport = keep(late)
    phone.sync()
    phone.transport = lambda request, send: send(request)
    sync_all(tablet, phone)
    tablet.update("todos", "0", {"title": "newer"})
    tablet.sync()
    before = everything(user)
    for request in late:
        if request.path.startswith(call):
            phone.send(request)
    assert everything(user) == before
    user.two_minutes_pass(phone)
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows
    assert everything(user) == before


def test_g5_a_restored_backup_pushes_again_and_changes_nothing(user: User) -> None:
    phone, tablet = user.device(), user.device()
    fill(phone, 2)
    backup = phone.backup()
    sync_all(phone, tablet)
    tablet.update("todos", "1", {"title": "newer"})
    sync_all(tablet, phone)
    before = everything(user)
    phone.restore(backup)
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows
    rows, history, overridden, clock = everything(user)
    assert (rows, history, clock) == (before[0], before[1], before[3])
    assert [line["row_data"] for line in overridden] == ['{"rowguid":"1","title":"row 1"}']


# G10


BAD_CHANGES: dict[str, Any] = {
    "no rowguid": {"operation": "U", "tablename": "todos", "clientdate": 1, "rowData": {"title": "x"}},
    "no tablename": {"operation": "U", "rowguid": "b", "clientdate": 1, "rowData": {"title": "x"}},
    "unknown operation": change("X", "b", 1, {"title": "x"}),
    "a number for a rowguid": {**change("U", "b", 1, {"title": "x"}), "rowguid": 7},
    "a text for a date": {**change("U", "b", 1, {"title": "x"}), "clientdate": "yesterday"},
    "a date beyond all dates": change("U", "b", 10**18, {"title": "x"}),
    "rowData that is no object": {**change("U", "b", 1), "rowData": [1]},
    "a NUL in the rowguid": change("U", "b\0", 1, {"title": "x"}),
    "a NUL in the tablename": change("U", "b", 1, {"title": "x"}, table="to\0dos"),
    "an endless rowguid": change("U", "b" * 256, 1, {"title": "x"}),
    "an endless tablename": change("U", "b", 1, {"title": "x"}, table="t" * 256),
    "no object": "change",
    "null": None,
}


@pytest.mark.parametrize("partial", [0, 1])
@pytest.mark.parametrize("bad", BAD_CHANGES)
def test_g10_one_bad_change_does_not_hold_up_the_others(user: User, bad: str, partial: int) -> None:
    """The client cannot leave it out, and would send it for ever."""
    phone = user.device()
    good = [change("I", f"{number}", 1, {"title": "x"}) for number in range(3)]
    changes = [*good[:2], BAD_CHANGES[bad], good[2]]
    phone.pull([])
    answer = post_raw(phone, f"/push/{phone.realm}/{phone.client_id}", encode(phone.body(changes, partial, None)))
    assert answer.status == 200
    assert {guid for _, guid in user.rows()} == {"0", "1", "2"}
    [kept] = user.kept_aside()
    assert json.loads(kept["change"]) == BAD_CHANGES[bad]


@pytest.mark.parametrize("partial", [0, 1])
def test_g10_a_push_that_is_no_push_stores_nothing(user: User, partial: int) -> None:
    phone = user.device()
    good = [change("I", f"{number}", 1, {"title": "x"}) for number in range(3)]
    phone.pull([])
    body = encode(phone.body(good, partial, None))
    for broken in (body[:-1], body.replace(b'"changes":[', b'"clientId":7,"changes":['), body[:-1] + b',"changes":{}}'):
        answer = post_raw(phone, f"/push/{phone.realm}/{phone.client_id}", broken)
        assert answer.status == 400
        assert everything(user) == ({}, [], [], 0)
        assert not user.kept_aside()
    assert phone.push(good) == user.clock  # the sync is still under way


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("part", [1, 2, 3])
def test_g10_an_interrupted_sync_in_parts_is_run_again_from_its_beginning(
    user: User, part: int, fault: Transport
) -> None:
    phone, tablet = user.device(), user.device()
    fill(phone, 2 * PART + 1)
    phone.transport = On("/push", fault, first=part)
    with pytest.raises(Crash):
        phone.sync()
    user.two_minutes_pass(phone)
    phone.sync()
    assert len(user.rows()) == len(user.history()) == 2 * PART + 1
    assert not user.overridden()
    tablet.sync()
    assert tablet.state.rows == phone.state.rows
    assert len(phone.state.rows) == 2 * PART + 1


def test_g10_an_interrupted_sync_in_parts_may_have_been_overtaken(user: User) -> None:
    """Another device edits a row of the part that was stored; the sync is run again and does not undo that."""
    phone, tablet = user.device(), user.device()
    fill(phone, PART + 1)
    phone.transport = On("/push", crash_before, first=2)
    with pytest.raises(Crash):
        phone.sync()
    tablet.sync()
    tablet.update("todos", "1", {"title": "newer"})
    tablet.sync()
    user.two_minutes_pass(phone)
    sync_all(phone, tablet)
    assert title(phone) == title(tablet) == "newer"


def test_g10_a_row_twice_in_one_call_is_what_its_last_change_says(user: User) -> None:
    phone = user.device()
    phone.pull([])
    phone.push(
        [
            change("I", "1", 5, {"title": "first"}),
            change("I", "2", 5, {"title": "other"}),
            change("I", "1", 5, {"title": "other table"}, table="notes"),
            change("U", "1", 3, {"title": "last"}),
        ]
    )
    rows = user.rows()
    assert rows["todos", "1"]["row_data"] == '{"title":"last"}'
    assert rows["todos", "1"]["client_date"] == 3
    assert rows["notes", "1"]["row_data"] == '{"title":"other table"}'
    assert len(user.history()) == 3
    assert not user.overridden()


def once_at(step: str, action: Any) -> Any:
    """A `step` hook that does something once, at that step."""
    done: list[str] = []

    def hook(name: str) -> None:
        if name == step and not done:
            done.append(name)
            action()

    return hook
