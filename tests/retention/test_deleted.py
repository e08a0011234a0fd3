"""What a delete replaced stays in the history for a while, and then goes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from retention.conftest import Prune
from sync_server.retention import pruning
from sync_server.retention.settings import Retention
from users import User, at, change, sync_all

DAY = 86_400_000


def kept(user: User) -> list[tuple[str, str, Any]]:
    """Each line of the history with the title that it keeps of the version before."""
    return [
        (line["rowguid"], line["operation"], line["old_data"] and json.loads(line["old_data"])["title"])
        for line in user.history()
    ]


def age(user: User, days: int, guid: str) -> None:
    """Have the line of the row's delete be that old."""
    older = "UPDATE sync.history SET stamp = stamp - %s WHERE space_id = %s AND rowguid = %s AND operation = 'D'"
    assert user.connection.execute(older, (days * DAY, user.space_id, guid)).rowcount == 1


def delete(user: User, *guids: str) -> None:
    phone = user.device()
    for guid in guids:
        phone.insert("notes", guid, {"title": f"note {guid}"})
    phone.sync()
    for guid in guids:
        phone.delete("notes", guid)
    phone.sync()


def test_the_line_of_a_delete_keeps_what_it_replaced_and_no_other_does(user: User) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("notes", "1", {"title": "first"})
    phone.sync()
    phone.update("notes", "1", {"title": "second"})
    sync_all(phone, tablet)
    tablet.delete("notes", "1")
    sync_all(phone, tablet)
    assert kept(user) == [("1", "I", None), ("1", "U", None), ("1", "D", "second")]
    assert all(line["row_data"] is None for line in user.history())
    assert user.rows()["notes", "1"]["row_data"] is None


def test_a_row_of_which_all_is_null_has_been_deleted_too(user: User) -> None:
    phone = user.device()
    phone.insert("notes", "1", {"title": "first"})
    phone.sync()
    phone.pull([])
    phone.push([change("U", "1", phone.clock(), {"title": None}, table="notes")])
    assert kept(user)[-1] == ("1", "D", "first")


def test_what_lost_to_a_delete_is_kept_once(user: User) -> None:
    """It has lost a conflict, and stays in `overridden`."""
    phone, tablet = user.device(), user.device(clock=at(50))
    phone.insert("notes", "1", {"title": "first"})
    sync_all(phone, tablet)
    phone.pull([])
    tablet.pull([])
    phone.push([change("U", "1", phone.clock() + 1, {"title": "unseen"}, table="notes")])
    tablet.push([change("D", "1", phone.clock() + 60_000, table="notes")])
    assert kept(user) == [("1", "I", None), ("1", "U", None), ("1", "D", None)]
    assert [json.loads(line["row_data"]) for line in user.overridden()] == [{"title": "unseen"}]


def test_it_goes_at_its_age_and_the_line_stays(user: User, prune: Prune) -> None:
    delete(user, "old", "new")
    age(user, 3, "old")
    prune(deleted=4 * DAY)
    assert {("new", "D", "note new"), ("old", "D", "note old")} <= set(kept(user))
    assert prune(deleted=2 * DAY)["deleted"] >= 1
    assert {("new", "D", "note new"), ("old", "D", None)} <= set(kept(user))
    assert prune(deleted=2 * DAY)["deleted"] == 0


def test_all_of_it_goes_in_portions(user: User, prune: Prune, monkeypatch: pytest.MonkeyPatch) -> None:
    prune(deleted=0)  # what all other tests have left: in portions of two it would take minutes
    monkeypatch.setattr(pruning, "PORTION", 2)
    delete(user, *"abcde")
    assert prune(deleted=0)["deleted"] >= 5
    assert len(kept(user)) == 10
    assert {title for _, _, title in kept(user)} == {None}


def test_what_the_audit_log_covers_stays(user: User, prune: Prune) -> None:
    """Such a line says by old_stamp which version it replaced."""
    delete(user, "1", "2")
    covered = "UPDATE sync.history SET old_stamp = 1, old_ordinal = 1 WHERE space_id = %s AND rowguid = '1'"
    user.connection.execute(covered, [user.space_id])
    prune(deleted=0)
    assert kept(user)[-2:] == [("1", "D", "note 1"), ("2", "D", None)]


@pytest.mark.parametrize(("said", "days"), [({}, 30), ({"deleted": 0}, 0), ({"deleted": None}, None)])
def test_it_is_thirty_days_unless_the_operator_says_otherwise(said: dict[str, Any], days: int | None) -> None:
    ages = pruning.ages(msgspec.convert(said, Retention))
    assert ages["deleted"] == (None if days is None else days * DAY)


@pytest.mark.parametrize("wrong", [-1, 40_000, 1.5, "x", True])
def test_other_ages_are_refused(wrong: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"deleted": wrong}, Retention)
