"""G6: deletes travel, later edits bring rows back, and a device's first pull gets the live rows only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from device import Device
from users import User, at, change, sync_all


def guids(device: Device) -> set[str]:
    return {guid for _, guid in device.state.rows}


def both_know(user: User) -> tuple[Device, Device]:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    sync_all(phone, tablet)
    return phone, tablet


def test_g6_a_delete_travels_to_every_other_device(user: User) -> None:
    phone, tablet = both_know(user)
    laptop = user.device()
    laptop.sync()
    phone.delete("todos", "1")
    sync_all(phone, tablet, laptop)
    assert not guids(phone) | guids(tablet) | guids(laptop)
    stored = user.rows()["todos", "1"]
    assert (stored["operation"], stored["row_data"]) == ("D", None)


def test_g6_a_deleted_row_is_delivered_without_row_data(user: User) -> None:
    phone, tablet = both_know(user)
    phone.delete("todos", "1")
    phone.sync()
    tablet.sync()
    [row] = tablet.pulled
    assert row["operation"] == "D"
    assert row.get("rowData") is None


def test_g6_a_first_pull_gets_the_live_rows_only(user: User) -> None:
    phone = user.device()
    for guid in ("gone", "live"):
        phone.insert("todos", guid, {"title": guid})
    phone.sync()
    phone.delete("todos", "gone")
    phone.sync()
    fresh = user.device()
    fresh.sync()
    assert [row["rowguid"] for row in fresh.pulled] == ["live"]


def test_g6_a_first_pull_gets_the_tombstone_of_a_row_that_the_device_has_edited(user: User) -> None:
    """A reinstalled app that kept its rows: it does not know that the row it sends has been deleted since."""
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    phone.delete("todos", "1")
    phone.sync()
    again = user.device(clock=at(1))
    again.insert("todos", "1", {"title": "an old copy"})
    sync_all(again, phone)
    assert not guids(again) | guids(phone)


def test_g6_a_pull_from_the_beginning_gets_the_tombstones_since_the_first_pull(user: User) -> None:
    phone, _ = both_know(user)
    phone.insert("todos", "2", {})
    phone.sync()
    phone.delete("todos", "2")  # before the laptop's first pull
    phone.sync()
    laptop = user.device()
    laptop.sync()
    phone.delete("todos", "1")  # after it
    phone.sync()
    laptop.state.cursor = 0
    laptop.sync()
    assert [(row["operation"], row["rowguid"]) for row in laptop.pulled] == [("D", "1")]
    assert not guids(laptop)
    assert user.client(laptop)["first_stamp"] < user.clock


def test_g6_the_first_pull_counts_also_when_its_sync_failed(user: User) -> None:
    phone, _ = both_know(user)
    laptop = user.device()
    laptop.pull()
    phone.delete("todos", "1")
    phone.sync()
    laptop.cancel()
    laptop.state.rows["todos", "1"] = {"title": "as pulled"}
    laptop.sync()
    assert not guids(laptop)


def test_g6_a_device_that_comes_back_as_another_client_hears_of_deletes(user: User) -> None:
    """Its client was removed, by an operator or for the limit; the app keeps its rows and its cursor."""
    phone, tablet = both_know(user)
    again = user.device()
    again.state.rows, again.state.cursor = dict(tablet.state.rows), tablet.state.cursor
    phone.delete("todos", "1")
    phone.sync()
    again.sync()
    assert [(row["operation"], row["rowguid"]) for row in again.pulled] == [("D", "1")]
    assert not guids(again)
    again.sync()
    assert not again.pulled


def test_g6_also_of_those_whose_tombstones_are_pruned(user: User) -> None:
    phone, tablet = both_know(user)
    laptop = user.device()
    laptop.state.rows, laptop.state.cursor = dict(tablet.state.rows), tablet.state.cursor
    phone.delete("todos", "1")
    for _ in range(2):
        sync_all(phone, tablet)
    assert user.prune_tombstones(user.clock) == 1
    laptop.sync()
    assert not guids(laptop)


def test_g6_a_later_edit_elsewhere_brings_the_row_back(user: User) -> None:
    phone, tablet = both_know(user)
    phone.clock, tablet.clock = at(phone.clock() + 1000), at(phone.clock() + 2000)
    phone.delete("todos", "1")
    tablet.update("todos", "1", {"title": "still needed"})
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == {("todos", "1"): {"title": "still needed"}}


def test_g6_a_device_that_saw_the_delete_may_insert_the_row_again(user: User) -> None:
    phone, tablet = both_know(user)
    phone.delete("todos", "1")
    sync_all(phone, tablet)
    tablet.insert("todos", "1", {"title": "again"})
    sync_all(tablet, phone)
    assert phone.state.rows == tablet.state.rows == {("todos", "1"): {"title": "again"}}


def test_g6_a_row_deleted_and_inserted_before_the_next_sync_is_the_new_row(user: User) -> None:
    phone, tablet = both_know(user)
    phone.delete("todos", "1")
    phone.insert("todos", "1", {"title": "again"})
    sync_all(phone, tablet)
    assert tablet.state.rows == {("todos", "1"): {"title": "again"}}


def test_g6_a_row_inserted_and_deleted_before_the_sync_never_existed(user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.delete("todos", "1")
    phone.sync()
    assert not user.rows()


@pytest.mark.parametrize("operation", ["I", "U"])
@pytest.mark.parametrize(
    "data", ["{}", '{"title":null}', '{ "title" : null ,\n"rowguid":null }', '{"a\\"b":null,"}":null}']
)
def test_g6_row_data_without_any_value_is_a_delete(user: User, operation: str, data: str) -> None:
    """sync_client sends it for a row that is gone: it left the log's entry behind, or its columns are encrypted."""
    phone, tablet = both_know(user)
    phone.pull([])
    phone.push([change(operation, "1", phone.clock(), json.loads(data))])
    stored = user.rows()["todos", "1"]
    assert (stored["operation"], stored["row_data"]) == ("D", None)
    tablet.sync()
    assert not guids(tablet)


@pytest.mark.parametrize("data", [{"title": 0}, {"title": ""}, {"title": False}, {"title": {}}, {"a": None, "b": []}])
def test_g6_row_data_with_a_value_that_is_merely_empty_is_a_row(user: User, data: dict[str, Any]) -> None:
    phone = user.device()
    phone.pull([])
    phone.push([change("U", "1", phone.clock(), data)])
    assert user.rows()["todos", "1"]["operation"] == "U"


def test_g6_a_row_that_came_back_and_went_again_is_gone_everywhere(user: User) -> None:
    phone, tablet = both_know(user)
    phone.delete("todos", "1")
    phone.insert("todos", "1", {"title": "again"})
    phone.update("todos", "1", {"title": "and again"})
    phone.delete("todos", "1")
    assert phone.pending()[0]["operation"] == "U"
    sync_all(phone, tablet)
    assert not guids(tablet)


def test_g6_a_row_with_encrypted_columns_is_gone_everywhere(user: User) -> None:
    phone, tablet = user.device(encrypted=("title", "text")), user.device()
    phone.insert("todos", "1", {"title": "c2VjcmV0"})
    sync_all(phone, tablet)
    assert tablet.state.rows == {("todos", "1"): {"title": "c2VjcmV0"}}
    phone.delete("todos", "1")
    phone.insert("todos", "1", {"title": "again"})
    phone.update("todos", "1", {"title": "and again"})
    phone.delete("todos", "1")
    assert phone.pending()[0]["rowData"] == {"title": None, "text": None}
    sync_all(phone, tablet)
    assert not guids(tablet)


def test_g6_a_delete_may_come_with_the_row(user: User) -> None:
    """sync_client sends the row along when a pull whose sync failed has brought it back to the device."""
    phone, tablet = both_know(user)
    phone.delete("todos", "1")
    phone.state.rows["todos", "1"] = {"title": "brought back"}
    phone.sync()
    tablet.sync()
    assert user.rows()["todos", "1"]["row_data"] is None
    assert not guids(tablet)


def test_g6_deleting_what_the_server_never_had_harms_nobody(user: User) -> None:
    phone, tablet = both_know(user)
    phone.pull([])
    phone.push([change("D", "never", phone.clock())])
    sync_all(phone, tablet)
    assert guids(tablet) == {"1"}
