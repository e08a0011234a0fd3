"""What one row violates never holds up a device: it is kept aside, and its sync goes on."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

import forking
from conftest import Process
from device import Device
from limits.conftest import NewUser
from users import User, change, sync_all
from wire import On, lose_answer

LARGE = {"text": "a secret " * 300}


def other_device(user: User) -> Device:
    """A second one that gets all that there is."""
    device = user.device()
    device.sync()
    return device


def test_a_row_over_the_limit_does_not_hold_up_the_others(user: User, process: Process) -> None:
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.insert("todos", "2", LARGE)
    phone.insert("notes", "3", {"title": "bread"})
    phone.sync()
    assert not phone.state.log, "everything is acknowledged"
    assert {guid for _, guid in user.rows()} == {"1", "3"}
    [kept] = user.kept_aside()
    assert json.loads(kept["change"])["rowData"] == {"rowguid": "2", **LARGE}
    assert (kept["reason"], kept["most"], str(kept["client_id"])) == ("row_too_large", 2000, phone.client_id)
    assert user.client(phone)["last_error"] == "kept aside: 1 row_too_large"
    assert '"kept_aside"' in process.log
    assert "a secret" not in process.log
    assert ("todos", "2") in phone.state.rows, "the device keeps its row"
    assert other_device(user).state.rows.keys() == {("todos", "1"), ("notes", "3")}


def test_the_device_syncs_on_and_the_row_is_stored_when_it_fits(user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", LARGE)
    phone.sync()
    phone.sync()
    assert user.client(phone)["last_error"] is None
    phone.update("todos", "1", {"title": "short"})
    phone.sync()
    assert "short" in user.rows()["todos", "1"]["row_data"]
    assert other_device(user).state.rows == phone.state.rows
    assert len(user.kept_aside()) == 1, "the operator decides when it goes"


def test_the_server_keeps_the_version_before_and_the_next_edit_anywhere_is_everybodys(user: User) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    sync_all(phone, tablet)
    phone.update("todos", "1", LARGE)
    sync_all(phone, tablet)
    assert phone.state.rows["todos", "1"] == LARGE
    assert tablet.state.rows["todos", "1"] == {"title": "milk"}
    tablet.update("todos", "1", {"title": "bread"})
    sync_all(tablet, phone)
    assert phone.state.rows == tablet.state.rows == {("todos", "1"): {"title": "bread"}}


def test_g5_it_is_recorded_once_however_often_it_is_sent(user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", LARGE)
    phone.transport = On("/push", lose_answer, times=2)
    phone.tries_to_sync()
    assert phone.state.log
    phone.sync()
    phone.pull([])
    changes = [change("X", "2", 1, {"n": 1})]
    phone.push(changes, partial=True)
    phone.push(changes, partial=True)
    phone.push(changes)
    assert len(user.kept_aside()) == 2


def test_parts_of_a_push_are_acknowledged_although_a_row_of_each_is_kept_aside(user: User) -> None:
    phone = user.device()
    phone.part = 3
    for number in range(9):
        phone.insert("todos", str(number), LARGE if number % 3 == 1 else {"n": number})
    phone.sync()
    assert not phone.state.log
    assert len(user.rows()) == 6
    assert len(user.kept_aside()) == 3


ODD: dict[str, Any] = {
    "a long table": change("U", "1", 1, {"n": 1}, table="t" * 256),
    "a long key": change("U", "1" * 256, 1, {"n": 1}),
    "a NUL in the key": change("U", "1\0", 1, {"n": 1}),
    "half an emoji in the key": change("U", "\ud83d", 1, {"n": 1}),
    "no operation": change("merge", "1", 1, {"n": 1}),
    "a date beyond all dates": change("U", "1", 10**17, {"n": 1}),
    "a date that is a text": {**change("U", "1", 1), "clientdate": "now"},
    "a list for a row": {**change("U", "1", 1), "rowData": [1]},
    "a text for a row": {**change("U", "1", 1), "rowData": "x"},
    "a number for a change": 7,
    "nothing for a change": None,
}
REASONS = {
    "a long table": ("invalid_tablename", 255),
    "a long key": ("invalid_rowguid", 255),
    "a date beyond all dates": ("invalid_clientdate", None),
    "a list for a row": ("invalid_rowdata", None),
    "no operation": ("invalid_operation", None),
    "a number for a change": ("invalid_change", None),
}


@pytest.mark.parametrize("name", ODD)
def test_a_device_with_an_odd_change_syncs(user: User, name: str) -> None:
    """Its pull announces the change, its push has it; neither is refused, and what else there is arrives."""
    phone, tablet = user.device(), user.device()
    tablet.insert("todos", "other", {"title": "for the phone"})
    tablet.sync()
    good = change("I", "good", 1, {"emoji": "\ud83d"})
    answer = phone.sync_call("pull", phone.body([good, ODD[name]], 0, 0))
    assert [row["rowguid"] for row in answer["data"]] == ["other"]
    phone.push([good, ODD[name]])
    assert {guid for _, guid in user.rows()} == {"other", "good"}
    [kept] = user.kept_aside()
    assert json.loads(kept["change"]) == ODD[name]
    if name in REASONS:
        assert (kept["reason"], kept["most"]) == REASONS[name]


def test_beyond_the_users_share_a_change_is_recorded_without_its_data(user: User, new_user: NewUser) -> None:
    phone = user.device()
    for number in range(3):
        phone.insert("todos", str(number), {**LARGE, "n": number})  # 2,700 bytes and more each; the share is 7,000
    phone.sync()
    assert sorted(line["change"] is None for line in user.kept_aside()) == [False, False, True]
    assert all(line["bytes"] > 2700 for line in user.kept_aside())
    assert not phone.state.log
    assert len(phone.state.rows) == 3
    stranger = new_user().device()
    stranger.insert("todos", "1", LARGE)
    stranger.sync()
    assert len([line for line in user.kept_aside() if line["change"] is None]) == 1


def test_leaving_with_all_data_takes_what_was_kept_aside_along(user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", LARGE)
    phone.sync()
    user_id = user.kept_aside()[0]["user_id"]
    phone.unregister(delete_remote_data=True)
    left = user.connection.execute("SELECT 1 FROM sync.kept_aside WHERE user_id = %s", (user_id,))
    assert not left.fetchall()


def test_the_operator_lists_and_reads_what_was_kept_aside(user: User, process: Process) -> None:
    phone = user.device()
    phone.insert("todos", "1", {**LARGE, "euro": "€"})
    phone.sync()

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forking.run(["kept-aside", "--realm", "TIGHT", *arguments], process.directory)

    listed = command()
    assert listed.returncode == 0, listed.stderr
    assert "a secret" not in listed.stdout
    [line] = [line for text in listed.stdout.splitlines() if (line := json.loads(text))["email"] == user.email]
    assert (line["reason"], line["most"], line["complete"], line["client_id"]) == (
        "row_too_large",
        2000,
        True,
        phone.client_id,
    )
    shown = command(line["id"])
    assert json.loads(shown.stdout)["rowData"] == {"rowguid": "1", **LARGE, "euro": "€"}
    settle = "UPDATE sync.kept_aside SET settled = 'dismissed', settled_at = now() WHERE id = %s"
    user.connection.execute(settle, (line["id"],))
    assert line["settled"] is None
    assert line["id"] not in command().stdout
    [settled] = [
        each for text in command("--all").stdout.splitlines() if (each := json.loads(text))["id"] == line["id"]
    ]
    assert settled["settled"] == "dismissed"
    assert settled["settled_at"]
    unknown = command("00000000-0000-4000-8000-000000000000")
    assert (unknown.returncode, unknown.stdout) == (1, "")
