"""G4: the last writer wins among edits that did not know of each other, and what lost is kept.

The devices' clocks stand still at dates long past, so that the server's clock plays no part unless a test wants it to.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from device import Device, wall_clock
from users import User, at, sync_all
from wire import On, meanwhile

YEAR = 365 * 86_400_000


def both_know(user: User, *clocks: int) -> list[Device]:
    """Devices with these clocks that hold the same row, written by the first one."""
    devices = [user.device(clock=at(clock)) for clock in clocks]
    devices[0].clock = at(10)
    devices[0].insert("todos", "1", {"title": "first"})
    sync_all(*devices)
    devices[0].clock = at(clocks[0])
    return devices


def edit(device: Device, title: str) -> None:
    device.save("todos", "1", {"title": title})


def held(device: Device) -> str | None:
    row = device.state.rows.get(("todos", "1"))
    return None if row is None else row["title"]


def lost(user: User) -> list[Any]:
    """The titles of the versions that lost; None for a deletion."""
    return [None if line["row_data"] is None else json.loads(line["row_data"])["title"] for line in user.overridden()]


@pytest.mark.parametrize("newest_first", [True, False])
def test_g4_newest_client_date_wins_whoever_syncs_first(user: User, newest_first: bool) -> None:
    older, newer = both_know(user, 1000, 2000)
    edit(older, "older")
    edit(newer, "newer")
    sync_all(*([newer, older] if newest_first else [older, newer]))
    assert held(older) == held(newer) == "newer"
    [line] = user.overridden()
    assert (line["tablename"], line["rowguid"], line["operation"], line["client_date"]) == ("todos", "1", "U", 1000)
    assert str(line["client_id"]) == older.client_id
    assert line["row_data"] == '{"rowguid":"1","title":"older"}'


def test_g4_newest_client_date_wins_between_two_inserts_of_a_row(user: User) -> None:
    older, newer = user.device(clock=at(1000)), user.device(clock=at(2000))
    edit(older, "older")
    edit(newer, "newer")
    sync_all(newer, older)
    assert held(older) == held(newer) == "newer"
    assert lost(user) == ["older"]


def test_g4_on_a_tie_the_stored_version_stays(user: User) -> None:
    one, other = both_know(user, 1000, 1000)
    edit(one, "one")
    edit(other, "other")
    sync_all(one, other)
    assert held(one) == held(other) == "one"
    assert lost(user) == ["other"]


def test_g4_the_loser_holds_the_winners_version_after_its_own_sync(user: User) -> None:
    older, newer = both_know(user, 1000, 2000)
    edit(older, "older")
    edit(newer, "newer")
    newer.sync()
    older.sync()
    assert held(older) == "newer"
    assert lost(user) == ["older"]


def test_g4_the_winner_keeps_its_version_through_its_own_pull(user: User) -> None:
    older, newer = both_know(user, 1000, 2000)
    edit(older, "older")
    edit(newer, "newer")
    older.sync()
    newer.sync()
    assert not newer.pulled
    assert held(newer) == "newer"


@pytest.mark.parametrize(("mine", "theirs", "winner"), [(1000, 2000, "theirs"), (2000, 1000, "mine")])
def test_g4_it_holds_for_edits_that_arrive_between_a_pull_and_its_push(
    user: User, mine: int, theirs: int, winner: str
) -> None:
    phone, tablet = both_know(user, mine, theirs)
    edit(phone, "mine")
    edit(tablet, "theirs")
    phone.transport = On("/push", meanwhile(tablet.sync))
    sync_all(phone, tablet)
    assert held(phone) == held(tablet) == winner
    assert lost(user) == [{"mine": "theirs", "theirs": "mine"}[winner]]


def test_g4_an_edit_made_after_seeing_the_stored_version_wins_however_wrong_the_clock(user: User) -> None:
    ahead, behind = both_know(user, 2000, -YEAR)
    edit(ahead, "ahead")
    sync_all(ahead, behind)
    edit(behind, "behind")
    sync_all(behind, ahead)
    assert held(ahead) == held(behind) == "behind"
    assert not user.overridden()


def test_g4_a_version_that_lost_once_never_wins_later(user: User) -> None:
    """The row's rank rises with every version, so an edit that is older than any of them stays behind all of them."""
    fast, slow, away = both_know(user, 5000, 100, 3000)
    edit(away, "away")  # at 3000, and it syncs last
    edit(fast, "fast")  # at 5000
    sync_all(fast, slow)
    edit(slow, "slow")  # at 100, by its clock, but it has seen `fast`
    slow.sync()
    away.sync()
    sync_all(fast, slow, away)
    assert {held(device) for device in (fast, slow, away)} == {"slow"}
    assert lost(user) == ["away"]
    assert user.rows()["todos", "1"]["rank"] == 5001


def test_g4_a_clock_a_year_ahead_does_not_win_for_a_year(user: User) -> None:
    wrong, right = both_know(user, wall_clock() + YEAR, 0)
    edit(wrong, "wrong")
    wrong.sync()
    assert user.rows()["todos", "1"]["client_date"] > wall_clock()
    right.clock = at(wall_clock() + 1000)  # a little later, without having heard of it
    edit(right, "right")
    sync_all(right, wrong)
    assert held(right) == held(wrong) == "right"
    assert lost(user) == ["wrong"]


def test_g4_a_clock_a_year_ahead_wins_over_what_was_edited_before_it_synced(user: User) -> None:
    wrong, right = both_know(user, wall_clock() + YEAR, wall_clock() - 60_000)
    edit(right, "right")
    edit(wrong, "wrong")
    wrong.sync()
    sync_all(right, wrong)
    assert held(right) == held(wrong) == "wrong"
    assert lost(user) == ["right"]


def test_g4_a_device_replaces_its_own_version_whatever_its_clock_does(user: User) -> None:
    phone, tablet = both_know(user, 2000, 1)
    edit(phone, "second")
    phone.sync()
    phone.clock = at(-YEAR)
    edit(phone, "third")
    phone.transport = On("/push", meanwhile(tablet.sync))
    sync_all(phone, tablet)
    assert held(phone) == held(tablet) == "third"
    assert not user.overridden()


@pytest.mark.parametrize(("deleted", "edited", "winner"), [(2000, 1000, None), (1000, 2000, "edited")])
@pytest.mark.parametrize("delete_first", [True, False])
def test_g4_it_holds_between_a_delete_and_an_edit(
    user: User, deleted: int, edited: int, winner: str | None, delete_first: bool
) -> None:
    deleting, editing = both_know(user, deleted, edited)
    deleting.delete("todos", "1")
    edit(editing, "edited")
    sync_all(*([deleting, editing] if delete_first else [editing, deleting]))
    assert held(deleting) == held(editing) == winner
    assert lost(user) == ["edited" if winner is None else None]


def test_g4_versions_that_say_the_same_are_no_conflict(user: User) -> None:
    one, other = both_know(user, 2000, 1000)
    edit(one, "same")
    edit(other, "same")
    sync_all(one, other)
    assert held(one) == held(other) == "same"
    assert not user.overridden()


def test_g4_rows_of_two_tables_with_one_guid_have_nothing_to_do_with_each_other(user: User) -> None:
    one, other = user.device(clock=at(1000)), user.device(clock=at(2000))
    one.insert("notes", "1", {"title": "note"})
    other.insert("todos", "1", {"title": "todo"})
    sync_all(other, one)
    assert one.state.rows == other.state.rows
    assert len(one.state.rows) == 2
    assert not user.overridden()


def test_g4_every_version_that_lost_is_kept(user: User) -> None:
    devices = both_know(user, *range(1000, 5000, 1000))
    for device in devices:
        edit(device, f"{device.clock()}")
    sync_all(*devices)
    assert {held(device) for device in devices} == {"4000"}
    assert sorted(lost(user)) == ["1000", "2000", "3000"]
