"""An operator brings a version back: every device gets it, nothing is lost by it, and twice is as once (G1-G6)."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from device import Device, Refused
from operators import put_back, restore
from sync.test_turns import wait_until_one_waits
from sync_server.stored import versions
from sync_server.stored.refusals import RowChanged, RowNotFound, VersionNotFound, VersionNotKept
from sync_server.stored.versions import OPERATOR, RowKey
from users import User, sync_all
from wire import On, meanwhile, new_email

NOTE = ("notes", "1")


@pytest.fixture
def note(user: User) -> RowKey:
    """A note that is on both phones: "ours" won, "theirs" lost."""
    phone, tablet = user.device(), user.device()
    phone.insert(*NOTE, {"title": "first"})
    sync_all(phone, tablet)
    tablet.update(*NOTE, {"title": "theirs"})
    phone.update(*NOTE, {"title": "ours"})
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == {NOTE: {"title": "ours"}}
    return RowKey(user.space_id, *NOTE)


def lost(user: User) -> str:
    """The name of the version that lost the conflict."""
    [line] = [line for line in user.overridden() if line["settled"] is None]
    return str(line["id"])


def titles(device: Device) -> list[str]:
    return [row["title"] for row in device.state.rows.values()]


def kept(user: User) -> list[Any]:
    return sorted(
        [
            (line["settled"], line["operation"], None if line["row_data"] is None else line["row_data"].split('"')[-2])
            for line in user.overridden()
        ],
        key=repr,
    )


def test_every_device_gets_a_version_that_lost_also_the_one_that_pushed_it(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    assert restore(user.connection, note, lost(user)).changed
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["theirs"]
    fresh = user.device()
    fresh.sync()
    assert titles(fresh) == ["theirs"]


def test_what_it_replaces_is_kept_and_can_be_brought_back_in_turn(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    restore(user.connection, note, lost(user))
    assert kept(user) == [("replaced", "U", "ours"), ("restored", "U", "theirs")]
    [replaced] = [line for line in user.overridden() if line["settled"] == "replaced"]
    restore(user.connection, note, str(replaced["id"]))
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["ours"]


def test_twice_is_as_once(user: User, note: RowKey) -> None:
    name = lost(user)
    first = restore(user.connection, note, name)
    before = (user.history(), user.overridden(), user.rows(), user.clock)
    second = restore(user.connection, note, name)
    assert (first.changed, second.changed, second.stamp) == (True, False, first.stamp)
    assert (user.history(), user.overridden(), user.rows(), user.clock) == before


def test_it_is_a_line_of_the_history_by_nobodys_device(user: User, note: RowKey) -> None:
    stamp = restore(user.connection, note, lost(user)).stamp
    line = user.history()[-1]
    assert (line["stamp"], line["client_id"], line["operation"]) == (stamp, OPERATOR, "U")
    assert line["row_data"] is None, "the history keeps changes only"
    assert user.clock == stamp
    assert user.rows()[NOTE]["client_id"] == OPERATOR


def test_where_the_row_has_changed_since_it_was_looked_at_it_is_left_alone(user: User, note: RowKey) -> None:
    phone, _ = user.devices
    seen = user.rows()[NOTE]["stamp"]
    phone.update(*NOTE, {"title": "later"})
    phone.sync()
    with pytest.raises(RowChanged):
        restore(user.connection, note, lost(user), seen=seen)
    assert "later" in user.rows()[NOTE]["row_data"]
    assert restore(user.connection, note, lost(user), seen=user.rows()[NOTE]["stamp"]).changed


def test_an_edit_from_before_that_is_pushed_later_loses_and_is_kept(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    phone.update(*NOTE, {"title": "not synced yet"})
    restore(user.connection, note, lost(user))
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["theirs"]
    assert (None, "U", "not synced yet") in kept(user)


def test_an_edit_from_afterwards_wins_and_the_restored_version_is_kept(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    restore(user.connection, note, lost(user))
    phone.update(*NOTE, {"title": "edited meanwhile"})
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["edited meanwhile"]
    assert (None, "U", "theirs") in kept(user)


def test_in_the_middle_of_a_sync_it_reaches_that_device_with_the_next(user: User, note: RowKey) -> None:
    """Between the pull and the push, of another row and of the same one."""
    phone, tablet = user.devices
    phone.insert("notes", "2", {"title": "another"})
    phone.transport = On("/push", meanwhile(lambda: restore(user.connection, note, lost(user))))
    phone.sync()
    assert phone.state.rows[NOTE] == {"title": "ours"}
    phone.sync()
    assert phone.state.rows[NOTE] == {"title": "theirs"}
    tablet.update(*NOTE, {"title": "from before"})
    back = lambda: put_back(user.connection, note, '{"rowguid": "1", "title": "again"}')  # noqa: E731
    tablet.transport = On("/push", meanwhile(back))
    sync_all(tablet, phone)
    assert tablet.state.rows[NOTE] == phone.state.rows[NOTE] == {"title": "again"}
    assert (None, "U", "from before") in kept(user)


def test_it_outranks_a_version_from_a_clock_that_is_ahead(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    ahead = "UPDATE sync.rows SET rank = 9000000000000 WHERE space_id = %s"
    user.connection.execute(ahead, (user.space_id,))
    restore(user.connection, note, lost(user))
    assert user.rows()[NOTE]["rank"] == 9000000000001
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["theirs"]


def test_a_deleted_row_comes_back_from_the_history(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    line = user.history()[0]
    data = '{"rowguid":"1","title":"first"}'
    user.connection.execute("UPDATE sync.history SET row_data = %s WHERE stamp = %s", (data, line["stamp"]))
    phone.delete(*NOTE)
    sync_all(phone, tablet)
    restore(user.connection, note, versions.recorded_name(line["stamp"], line["ordinal"]), full_history=True)
    assert user.rows()[NOTE]["operation"] == "I"
    assert user.history()[-1]["row_data"] == data
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["first"]


def deleted(user: User) -> str:
    """The name of what the latest delete replaced."""
    line = [line for line in user.history() if line["operation"] == "D"][-1]
    return versions.deleted_name(line["stamp"], line["ordinal"])


def test_what_was_deleted_comes_back(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    phone.delete(*NOTE)
    sync_all(phone, tablet)
    name = deleted(user)
    assert restore(user.connection, note, name).changed
    assert not restore(user.connection, note, name).changed
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["ours"]
    tablet.delete(*NOTE)
    sync_all(phone, tablet)
    assert deleted(user) != name
    assert restore(user.connection, note, deleted(user)).changed
    assert user.prune_tombstones(user.clock) == 0
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["ours"]


def test_what_was_deleted_comes_back_when_the_tombstone_has_gone(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    phone.delete(*NOTE)
    for _ in range(2):
        sync_all(phone, tablet)
    assert user.prune_tombstones(user.clock) == 1
    assert restore(user.connection, note, deleted(user)).changed
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["ours"]


def test_a_change_that_is_no_delete_has_deleted_nothing(user: User, note: RowKey) -> None:
    line = user.history()[0]
    with pytest.raises(VersionNotFound):
        restore(user.connection, note, versions.deleted_name(line["stamp"], line["ordinal"]))


def test_what_was_deleted_and_has_gone_cannot_be_brought_back(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    phone.delete(*NOTE)
    sync_all(phone, tablet)
    user.connection.execute("UPDATE sync.history SET old_data = NULL WHERE space_id = %s", [user.space_id])
    with pytest.raises(VersionNotKept):
        restore(user.connection, note, deleted(user))


def test_a_row_comes_back_of_which_not_even_the_tombstone_is_left(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    phone.delete(*NOTE)
    for _ in range(2):
        sync_all(phone, tablet)
    assert user.prune_tombstones(user.clock) == 1
    assert restore(user.connection, note, lost(user), seen=0).changed
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == ["theirs"]


def test_a_delete_that_lost_can_be_brought_about(user: User, note: RowKey) -> None:
    phone, tablet = user.devices
    restore(user.connection, note, lost(user))
    sync_all(phone, tablet)
    tablet.delete(*NOTE)
    phone.update(*NOTE, {"title": "wins"})
    sync_all(phone, tablet)
    [name] = [str(line["id"]) for line in user.overridden() if line["operation"] == "D"]
    assert restore(user.connection, note, name).changed
    assert not restore(user.connection, note, name).changed
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == {}
    assert ("replaced", "U", "wins") in kept(user)


def test_a_version_whose_data_was_not_kept_cannot_be_brought_back(user: User, note: RowKey) -> None:
    line = user.history()[0]
    before = user.rows()
    with pytest.raises(VersionNotKept):
        restore(user.connection, note, versions.recorded_name(line["stamp"], line["ordinal"]))
    assert user.rows() == before


@pytest.mark.parametrize(
    "name", [str(uuid.UUID(int=1)), "h1.1", "d1.1", "h99999999999999999999.0", "", "x", "\0", "'; --"]
)
def test_there_must_be_such_a_version(user: User, note: RowKey, name: str) -> None:
    before = user.rows()
    with pytest.raises(VersionNotFound):
        restore(user.connection, note, name)
    assert user.rows() == before


def test_a_version_of_another_row_is_none_of_this_one(user: User, note: RowKey) -> None:
    with pytest.raises(VersionNotFound):
        restore(user.connection, note._replace(rowguid="2"), lost(user))
    with pytest.raises(RowNotFound):
        restore(user.connection, note._replace(space_id=uuid.uuid4()), lost(user))


@pytest.mark.parametrize("key", [("todos", "1"), ("é ☃", "a/b c?%"), ("t" * 255, "x" * 255), ("", "")])
def test_the_id_of_a_row_names_its_key(key: tuple[str, str]) -> None:
    row = RowKey(uuid.uuid4(), *key)
    assert RowKey.of_id(row.id) == row


@pytest.mark.parametrize("text", ["", "x", "é", "AAAA", "A" * 40, "=" * 30])
def test_what_is_no_id_of_a_row_names_none(text: str) -> None:
    with pytest.raises(RowNotFound):
        RowKey.of_id(text)


def test_no_device_can_have_the_operators_id(user: User) -> None:
    """It would not be sent what is restored."""
    body = {"name": "x", "email": new_email(), "password": "x" * 12, "clientId": str(OPERATOR), "newRegistration": True}
    device = Device(user.send, user.realm)
    with pytest.raises(Refused) as refusal:
        device.call(f"/register/{user.realm}", body)
    assert refusal.value.status == 400


def test_it_waits_for_the_push_under_way(user: User, note: RowKey) -> None:
    name, seen = lost(user), user.rows()[NOTE]["stamp"]
    with ThreadPoolExecutor(1) as pool:
        with user.connection.transaction():
            user.connection.execute("SELECT 1 FROM sync.spaces WHERE id = %s FOR UPDATE", (note.space_id,))
            restoring = pool.submit(restore, user.connection, note, name, seen=seen)
            wait_until_one_waits(user)
            user.connection.execute("UPDATE sync.rows SET stamp = stamp + 1 WHERE space_id = %s", (note.space_id,))
        with pytest.raises(RowChanged):
            restoring.result()
