"""Where the history is full, every push that changes something is a line of its space's chain, and covered by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from audit.conftest import Database
from device import Device
from sync_server.audit.chain import Change, Line, content_digest, digest, same
from users import NewUser, User, at, change, sync_all
from wire import Crash


@pytest.fixture
def database(databases: dict[str, Database]) -> Database:
    return databases["full"]


@pytest.fixture
def user(new_user: NewUser) -> User:
    return new_user()


def lines(user: User, database: Database) -> list[dict[str, Any]]:
    return database.select(
        "SELECT * FROM sync.audit_lines l JOIN sync.audit_details d USING (chain_id, number)"
        " WHERE chain_id = %s ORDER BY number",
        user.space_id,
    )


def check(user: User, database: Database) -> list[dict[str, Any]]:
    """The lines of the user's space, whose hashes are right: what the database computes is what audit/chain.py says."""
    previous, found = "", lines(user, database)
    for number, stored in enumerate(found, 1):
        line = Line(**{name: stored[name] for name in Line._fields})
        assert line.number == number
        assert same(stored["hash"], line.hash(previous))
        assert same(stored["address_digest"], digest(stored["address_salt"], stored["address"]))
        changes = [Change(**{name: each[name] for name in Change._fields}) for each in of(user, line.stamp)]
        assert len(changes) == line.changes
        covered = content_digest(stored["content_salt"], changes, like=stored["content_digest"])
        assert same(stored["content_digest"], covered)
        previous = stored["hash"]
    [head] = database.select("SELECT * FROM sync.spaces WHERE id = %s", user.space_id)
    assert (head["audit_number"], head["audit_hash"]) == (len(found), previous)
    return found


def of(user: User, stamp: int | None) -> list[dict[str, Any]]:
    return [change for change in user.history() if change["stamp"] == stamp]


def test_a_push_is_a_line_that_says_who_sent_it(user: User, database: Database) -> None:
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.insert("notes", "2", {"title": "bread ✓"})
    phone.sync()
    [line] = check(user, database)
    assert (line["action"], line["entity"], line["entity_id"]) == ("rows.push", "space", str(user.space_id))
    assert (str(line["client_id"]), line["realm"], line["via"], line["changes"]) == (phone.client_id, "full", "wire", 2)
    assert line["address"] == "127.0.0.1"
    assert line["request_id"]
    assert line["user_id"] == line["subject_id"] == user.history()[0]["user_id"]


def test_a_push_without_changes_is_no_line(user: User, database: Database) -> None:
    phone = user.device()
    phone.sync()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    phone.sync()
    assert len(check(user, database)) == 1


def test_each_change_says_which_version_it_replaced(user: User, database: Database) -> None:
    phone = user.device()
    phone.insert("todos", "0", {"title": "another"})
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    phone.update("todos", "1", {"title": "bread"})
    phone.sync()
    phone.delete("todos", "1")
    phone.sync()
    _, first, second, third = user.history()
    assert first["ordinal"] == 2
    assert (first["old_stamp"], second["old_stamp"], third["old_stamp"]) == (None, first["stamp"], second["stamp"])
    assert second["old_ordinal"] == first["ordinal"]
    assert all(each["old_data"] is None for each in (first, second, third)), "nothing is kept twice"
    assert len(check(user, database)) == 3


def test_what_the_history_does_not_have_is_kept_beside_the_change(user: User, database: Database) -> None:
    """A version from before the history was full, or that retention has removed from it."""
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.insert("todos", "2", {"title": "bread"})
    phone.sync()
    forget = "UPDATE sync.history SET row_data = NULL WHERE space_id = %s AND rowguid = '1'"
    database.connection.execute(forget, [user.space_id])
    database.connection.execute("DELETE FROM sync.history WHERE space_id = %s AND rowguid = '2'", [user.space_id])
    for guid in ("1", "2"):
        phone.update("todos", guid, {"title": "cheese"})
    phone.sync()
    kept = {each["rowguid"]: json.loads(each["old_data"])["title"] for each in user.history() if each["old_data"]}
    assert kept == {"1": "milk", "2": "bread"}


def test_conflicts_and_several_devices_make_one_chain(user: User, database: Database) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    sync_all(phone, tablet)
    for number in range(4):
        phone.clock, tablet.clock = at(2_000_000 + number), at(1_000_000 + number)
        phone.update("todos", "1", {"title": f"phone {number}"})
        tablet.update("todos", "1", {"title": f"tablet {number}"})
        tablet.insert("notes", f"t{number}", {"title": "\ud800\udc00 1.0"})
        phone.insert("notes", f"p{number}", {"title": 'with "quotes", ünïcode and \\'})
        sync_all(phone, tablet)
    found = check(user, database)
    assert {str(line["client_id"]) for line in found} == {phone.client_id, tablet.client_id}
    assert sum(line["changes"] for line in found) == len(user.history())


def test_a_push_that_comes_again_is_no_further_line(user: User, database: Database) -> None:
    phone = user.device()
    changes = [change("I", "1", 1, {"title": "milk"})]
    phone.pull(changes, 0)
    answer = phone.push(changes)
    assert phone.push(changes) == answer
    assert len(check(user, database)) == 1


def test_parts_of_a_push_are_lines_each(user: User, database: Database) -> None:
    phone = user.device(part=3)
    for number in range(8):
        phone.insert("todos", str(number), {"n": number})
    phone.sync()
    assert [line["changes"] for line in check(user, database)] == [3, 3, 2]


def test_what_is_kept_aside_does_not_keep_the_rest_from_the_log(user: User, database: Database) -> None:
    phone = user.device()
    changes = [change("I", "1", 1, {"title": "milk"}), change("I", "a\0b", 1, {"title": "x"})]
    phone.pull(changes[:1], 0)
    phone.push(changes)
    assert [line["changes"] for line in check(user, database)] == [1]
    assert len(user.kept_aside()) == 1


def test_a_sync_that_crashed_in_the_middle_goes_on_in_the_chain(user: User, database: Database) -> None:
    def crash(step: str) -> None:
        if step == "pushed":
            raise Crash

    phone = user.device(step=crash)
    phone.insert("todos", "1", {"title": "milk"})
    assert not phone.tries_to_sync()
    phone.step = lambda _: None
    phone.update("todos", "1", {"title": "bread"})
    phone.sync()
    assert len(check(user, database)) == 2


def test_without_a_full_history_nothing_is_written(new_user: NewUser, databases: dict[str, Database]) -> None:
    user = new_user("main")
    phone: Device = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    assert check(user, databases["main"]) == []
    [line] = user.history()
    assert (line["row_data"], line["old_stamp"], line["old_data"]) == (None, None, None)
