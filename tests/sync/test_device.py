"""The simulator does what sync_client does: its log of edits, and what it makes of them."""

from __future__ import annotations

import pytest

from device import Device, State
from users import at
from wire import Answer, Request


def no_network(request: Request) -> Answer:
    raise AssertionError(f"{request.path} was called")


@pytest.fixture
def device() -> Device:
    """A registered device at the time 1."""
    return Device(no_network, "main", clock=at(1), state=State(client_id="c"))


def logged(device: Device) -> list[tuple[str, int]]:
    return [(entry.operation, entry.date) for entry in device.state.log]


def test_nothing_is_logged_before_the_registration(device: Device) -> None:
    device.state.client_id = None
    device.insert("todos", "1", {"title": "milk"})
    assert device.state.rows
    assert not logged(device)


def test_an_update_after_an_unsynced_insert_keeps_the_insert_and_its_date(device: Device) -> None:
    device.insert("todos", "1", {"title": "milk"})
    device.clock = at(2)
    device.update("todos", "1", {"title": "bread"})
    [change] = device.pending()
    assert (change["operation"], change["clientdate"], change["rowData"]["title"]) == ("I", 1, "bread")


def test_an_update_replaces_an_earlier_update(device: Device) -> None:
    device.state.rows["todos", "1"] = {"title": "milk"}
    device.update("todos", "1", {"title": "bread"})
    device.clock = at(2)
    device.update("todos", "1", {"title": "wine"})
    assert logged(device) == [("U", 2)]


def test_a_delete_after_an_unsynced_insert_cancels_both(device: Device) -> None:
    device.insert("todos", "1", {})
    device.delete("todos", "1")
    assert not logged(device)
    assert not device.pending()


def test_a_delete_replaces_an_update_and_sends_empty_row_data(device: Device) -> None:
    device.state.rows["todos", "1"] = {"title": "milk"}
    device.update("todos", "1", {"title": "bread"})
    device.delete("todos", "1")
    assert logged(device) == [("D", 1)]
    assert device.pending()[0]["rowData"] == {}


def test_a_row_that_came_back_and_went_again_is_an_update_without_data(device: Device) -> None:
    """The client removes only the first entry of the log, and here that is the insert of a row that the server has."""
    device.state.rows["todos", "1"] = {"title": "milk"}
    device.delete("todos", "1")
    device.insert("todos", "1", {"title": "bread"})
    device.update("todos", "1", {"title": "wine"})
    device.delete("todos", "1")
    assert logged(device) == [("U", 1)]
    assert device.pending()[0]["rowData"] == {}


def test_the_last_entry_of_a_row_is_what_is_sent_by_table_and_with_the_row_as_it_is(device: Device) -> None:
    device.state.rows["notes", "1"] = {"text": "old"}
    device.delete("notes", "1")
    device.insert("notes", "1", {"text": "new", "done": 0})
    device.insert("todos", "1", {"title": "milk"})
    assert [(change["tablename"], change["operation"]) for change in device.pending()] == [
        ("todos", "I"),
        ("notes", "I"),
    ]
    assert device.pending()[1]["rowData"] == {"rowguid": "1", "text": "new", "done": 0}


def test_encrypted_columns_are_sent_even_where_they_are_null(device: Device) -> None:
    device.encrypted = ("title",)
    device.state.rows["todos", "1"] = {"title": "secret"}
    device.delete("todos", "1")
    assert device.pending()[0]["rowData"] == {"title": None}


def test_applied_rows_are_not_logged_and_lose_the_columns_that_are_missing(device: Device) -> None:
    device.state.rows["todos", "1"] = {"title": "milk", "done": 1}
    row = {"operation": "U", "tablename": "todos", "rowguid": "1", "rowData": {"rowguid": "1", "title": "bread"}}
    device.apply(row)
    assert device.state.rows == {("todos", "1"): {"title": "bread"}}
    device.apply({**row, "operation": "D", "rowData": None})
    assert not device.state.rows
    assert not logged(device)
