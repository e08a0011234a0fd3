"""After the restore of yesterday's backup: devices that know more than the server go on by themselves, become equal
again, and lose nothing that they had not pushed (docs/backup.md).
"""

from __future__ import annotations

import copy
import random
from typing import Any

import psycopg
import pytest

from backup.conftest import Realm
from device import Device, Key, Offline, Refused, Unauthorized
from game import KEYS, SKEWS, Game
from histories import random_plan
from model import Client
from sync_server import backup
from users import User, at, change, sync_all
from wire import On, Transport, direct, lose_answer, lose_request


def titles(device: Device) -> dict[str, str]:
    return {guid: row["title"] for (_, guid), row in device.state.rows.items()}


def write(device: Device, guid: str, title: str) -> None:
    device.save("todos", guid, {"title": title})


def breaks_off(device: Device, fault: Transport = lose_request) -> None:
    """A sync that ends with its first push, when all that came is applied."""
    device.transport = On("/push", fault, times=2)
    with pytest.raises(Offline):
        device.sync()
    device.transport = direct


@pytest.fixture
def user(realm: Realm) -> User:
    return realm.new_user()


@pytest.fixture
def devices(user: User) -> tuple[Device, Device, Device]:
    """Three that hold the same rows, at the time of the backup."""
    phone, tablet, laptop = user.device(), user.device(), user.device()
    for guid in ("edited", "deleted", "pending", "gone"):
        phone.insert("todos", guid, {"title": "yesterday"})
    sync_all(phone, tablet, laptop)
    return phone, tablet, laptop


def test_devices_become_equal_again_and_lose_nothing_that_was_not_pushed(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    phone, tablet, laptop = devices
    data = realm.back_up()
    write(phone, "edited", "today")  # pushed, and lost with the server
    tablet.delete("todos", "deleted")
    phone.sync()
    tablet.sync()
    phone.sync()
    assert titles(phone) == titles(tablet) == {"edited": "today", "pending": "yesterday", "gone": "yesterday"}
    write(phone, "pending", "edited on the phone")  # not pushed yet
    tablet.delete("todos", "gone")
    laptop.insert("todos", "new", {"title": "written offline"})
    realm.put_back(data)
    sync_all(phone, tablet, laptop)
    expected = {
        "edited": "yesterday",
        "deleted": "yesterday",
        "pending": "edited on the phone",
        "new": "written offline",
    }
    late = user.device()
    late.sync()
    assert [titles(device) for device in (phone, tablet, laptop, late)] == [expected] * 4
    assert not user.overridden()


def test_an_edit_of_what_the_device_had_seen_wins_however_slow_its_clock(
    realm: Realm, devices: tuple[Device, Device, Device]
) -> None:
    phone, tablet, _ = devices
    data = realm.back_up()
    tablet.clock = lambda: 1
    write(tablet, "edited", "by a slow clock")
    write(phone, "deleted", "today")
    phone.sync()
    realm.put_back(data)
    tablet.sync()
    assert titles(tablet)["edited"] == "by a slow clock", "its own edit does not vanish until the next sync either"
    sync_all(phone, tablet)
    assert titles(phone)["edited"] == titles(tablet)["edited"] == "by a slow clock"


def test_a_row_made_since_stays_where_it_is_until_it_is_edited(
    realm: Realm, devices: tuple[Device, Device, Device]
) -> None:
    phone, tablet, laptop = devices
    data = realm.back_up()
    phone.insert("todos", "made since", {"title": "today"})
    sync_all(phone, tablet)
    realm.put_back(data)
    sync_all(phone, tablet, laptop)
    assert titles(phone)["made since"] == titles(tablet)["made since"] == "today"
    assert "made since" not in titles(laptop)
    write(tablet, "made since", "tomorrow")
    sync_all(tablet, phone, laptop)
    assert {titles(device)["made since"] for device in devices} == {"tomorrow"}


def test_a_device_that_registers_anew_brings_back_all_that_it_has(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    phone, _, laptop = devices
    data = realm.back_up()
    write(phone, "edited", "today")
    phone.insert("todos", "made since", {"title": "today"})
    phone.delete("todos", "deleted")
    phone.sync()
    realm.put_back(data)
    phone.unregister()
    phone.register(user.email, user.password, new=False)
    sync_all(phone, laptop)
    assert titles(laptop) == titles(phone)
    assert titles(phone) == {
        "edited": "today",
        "made since": "today",
        "deleted": "yesterday",  # what was deleted is not known to anybody
        "pending": "yesterday",
        "gone": "yesterday",
    }
    assert "yesterday" in user.overridden()[0]["row_data"]


def test_nothing_that_was_said_before_is_valid(realm: Realm, devices: tuple[Device, Device, Device]) -> None:
    """Neither of the time of the backup nor of the time that was lost: it may have been revoked since."""
    phone, tablet, _ = devices
    data = realm.back_up()
    before = phone.backup()
    tablet.sync()
    realm.put_back(data)
    for device, state in ((phone, before), (tablet, tablet.state)):
        for path, body, token in (  # the refresh token last: its refusal ends the session
            (f"/pull/main/{device.client_id}", device.body([], 0, None), f"Bearer {state.access}"),
            ("/cancelSync/main", {"clientId": device.client_id}, f"Bearer {state.access}"),
            ("/login/main/refreshToken", {"refreshToken": state.refresh}, None),
        ):
            with pytest.raises(Unauthorized):
                device.call(path, body, token)
    phone.sync()


def test_a_sync_that_was_under_way_is_over(realm: Realm, devices: tuple[Device, Device, Device]) -> None:
    phone, tablet, _ = devices
    phone.pull([])
    data = realm.back_up()
    realm.put_back(data)
    with pytest.raises(Refused, match="pull before"):
        phone.push([change("I", "x", 1, {"title": "x"})])
    phone.sync()
    tablet.sync()


def test_devices_become_equal_too_when_the_server_is_told_that_its_database_was_put_back(
    realm: Realm, devices: tuple[Device, Device, Device]
) -> None:
    phone, tablet, laptop = devices
    data = realm.back_up()
    tablet.delete("todos", "deleted")
    tablet.sync()
    write(phone, "edited", "today")
    sync_all(phone, tablet)
    write(phone, "pending", "edited on the phone")
    realm.put_back(data, as_it_was=True)
    with psycopg.connect(realm.dsn, autocommit=True) as connection:  # of an admin, who may have signed out since
        session = "INSERT INTO sync.admin_sessions SELECT gen_random_uuid(), id, 0, 'x', NULL, now(), 1 FROM sync.users"
        assert connection.execute(session).rowcount > 0
        backup.put_back("sync", realm.dsn)
        assert connection.execute("SELECT 1 FROM sync.admin_sessions").fetchall() == []
    sync_all(phone, tablet, laptop)
    expected = {
        "edited": "yesterday",
        "deleted": "yesterday",
        "pending": "edited on the phone",
        "gone": "yesterday",
    }
    assert [titles(device) for device in devices] == [expected] * 3


def test_a_device_with_a_cursor_beyond_the_clock_is_sent_everything(
    realm: Realm, devices: tuple[Device, Device, Device]
) -> None:
    """Without having been told, the server sees that its database was put back."""
    phone, _, _ = devices
    data = realm.back_up()
    write(phone, "edited", "today")
    phone.delete("todos", "deleted")
    phone.sync()
    realm.put_back(data, as_it_was=True)
    write(phone, "pending", "edited on the phone")
    phone.sync()
    assert titles(phone) == {
        "edited": "yesterday",
        "deleted": "yesterday",
        "pending": "edited on the phone",
        "gone": "yesterday",
    }


def test_after_the_first_sync_a_device_is_sent_nothing_twice(
    realm: Realm, devices: tuple[Device, Device, Device]
) -> None:
    phone, tablet, _ = devices
    realm.put_back(realm.back_up())
    write(phone, "pending", "today")
    phone.sync()
    assert {row["rowguid"] for row in phone.pulled} == {"edited", "deleted", "gone"}
    tablet.sync()
    phone.sync()
    assert [row["rowguid"] for row in phone.pulled] == ["pending"]  # its own, once
    for device in (phone, tablet):
        device.sync()
        assert not device.pulled


def test_no_tombstone_is_pruned_before_every_device_was_sent_it_again(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    phone, tablet, laptop = devices
    phone.delete("todos", "deleted")
    sync_all(phone, tablet, laptop)
    sync_all(phone, tablet, laptop)
    data = realm.back_up()
    tablet.insert("todos", "deleted", {"title": "made anew"})
    sync_all(tablet, phone)
    realm.put_back(data)
    assert user.prune_tombstones(user.clock) == 0
    sync_all(tablet, laptop)
    phone.pull()  # its answer may get lost
    phone.cancel()
    assert user.prune_tombstones(user.clock) == 0
    sync_all(phone, tablet, laptop)
    assert all("deleted" not in titles(device) for device in devices)
    sync_all(phone, tablet, laptop)
    assert user.prune_tombstones(user.clock) == 1


def test_a_device_whose_first_sync_was_lost_with_the_server_hears_of_deletes(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    """It was broken off after it had applied what came: the device has rows, and a cursor as if it had never pulled."""
    phone, tablet, _ = devices
    late = user.device()
    data = realm.back_up()
    late.pull()
    for row in late.pulled:
        late.apply(row)
    assert titles(late)["gone"] == "yesterday"
    realm.put_back(data)
    phone.delete("todos", "gone")
    sync_all(phone, tablet)
    late.sync()
    assert titles(late) == titles(tablet)


def test_a_device_that_never_finished_a_sync_hears_of_deletes_from_before_its_first_pull(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    """The backup knows when its first pull was, but not of a later one: then the deleted row had been brought back."""
    phone, tablet, _ = devices
    phone.delete("todos", "gone")
    phone.sync()
    late = user.device()
    breaks_off(late)
    assert "gone" not in titles(late)
    data = realm.back_up()
    tablet.sync()
    tablet.insert("todos", "gone", {"title": "brought back"})
    tablet.sync()
    breaks_off(late)
    assert titles(late)["gone"] == "brought back"
    realm.put_back(data)
    late.sync()
    assert "gone" not in titles(late)
    sync_all(tablet, phone, late)
    assert titles(late) == titles(tablet) == titles(phone)


def test_a_device_that_never_finished_a_sync_is_sent_its_own_changes_of_the_first_one(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    """Its delete has lost to a version that the server does not know any more, so now it wins; the device has the row."""
    phone, tablet, _ = devices
    phone.clock = at(1000)
    phone.insert("todos", "x", {"title": "first"})
    phone.sync()
    late = user.device(clock=at(2000))
    breaks_off(late)
    late.delete("todos", "x")
    data = realm.back_up()
    phone.clock = at(3000)
    write(phone, "x", "later")
    phone.sync()
    breaks_off(late)
    assert titles(late)["x"] == "later"
    realm.put_back(data)
    late.sync()
    assert user.rows()["todos", "x"]["operation"] == "D"
    late.sync()
    assert "x" not in titles(late)
    sync_all(phone, tablet, late)
    assert titles(late) == titles(tablet) == titles(phone)


def test_a_device_is_sent_its_own_version_that_it_has_pending_and_holds_no_more(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    """Its delete, of which it knows not that it is stored, has lost to a version that the server does not know any more."""
    phone, tablet, laptop = devices
    phone.clock = at(1000)
    phone.delete("todos", "gone")
    breaks_off(phone, lose_answer)
    deleted = user.rows()["todos", "gone"]
    assert deleted["operation"] == "D"
    data = realm.back_up()
    tablet.sync()
    tablet.insert("todos", "gone", {"title": "brought back"})
    tablet.sync()
    breaks_off(phone)
    assert titles(phone)["gone"] == "brought back"
    realm.put_back(data)
    sync_all(phone, tablet, laptop)
    assert user.rows()["todos", "gone"]["stamp"] == deleted["stamp"], "a delete that is stored is no news"
    assert titles(phone) == titles(laptop) == titles(tablet)
    assert "gone" not in titles(phone)


def test_a_device_from_between_a_prune_and_the_restore_hears_of_what_was_pruned(
    realm: Realm, user: User, devices: tuple[Device, Device, Device]
) -> None:
    """A device that goes back, by a backup of its own, to the time that the server has lost."""
    phone, tablet, laptop = devices
    phone.delete("todos", "deleted")
    sync_all(phone, tablet, laptop)
    data = realm.back_up()
    tablet.insert("todos", "deleted", {"title": "made anew"})
    sync_all(tablet, phone)
    old = copy.deepcopy(phone.state)
    realm.put_back(data)
    for _ in range(2):
        sync_all(phone, tablet, laptop)
    assert user.prune_tombstones(user.clock) == 1
    phone.state = old
    sync_all(phone, tablet, laptop)
    assert titles(phone) == titles(laptop)


def test_the_audit_log_is_whole_and_goes_on(realm: Realm, devices: tuple[Device, Device, Device]) -> None:
    phone, tablet, _ = devices
    data = realm.back_up()
    write(phone, "edited", "today")
    phone.sync()
    realm.put_back(data)
    write(tablet, "edited", "tomorrow")
    sync_all(tablet, phone)
    chains = realm.audited()
    assert sum(chain.lines for chain in chains) >= 2
    assert not [finding for chain in chains for finding in chain.findings]


class RestoredGame(Game):
    """A game in which the server is put back to backups, too: the model follows."""

    def __init__(self, realm: Realm) -> None:
        super().__init__([realm.new_user()], SKEWS[:3])
        self.realm = realm
        self.lost: set[Key] = set()
        self.taken: tuple[bytes, Any] | None = None

    def take(self) -> None:
        [household] = self.households
        twin = household.twin
        for device in [household.fresh, *(player.device for player in household.players)]:
            twin.space.clients.setdefault(device.client_id, Client())  # which it meets at their first call
        self.taken = self.realm.back_up(), copy.deepcopy((twin.space, twin.acknowledged))

    def put_back(self) -> None:
        assert self.taken is not None
        data, (space, acknowledged) = self.taken
        twin = self.households[0].twin
        self.lost |= twin.space.rows.keys() - space.rows.keys()
        self.realm.put_back(data)
        twin.space.put_back(space, self.households[0].user.clock)
        twin.acknowledged = acknowledged
        self.taken = None

    def come_to_rest(self) -> None:
        """As in every game; but rows that the server has lost altogether may stay where they are."""
        [household] = self.households
        unknown = self.lost - household.twin.space.rows.keys()
        for player in household.players:
            for key in unknown:
                player.device.state.rows.pop(key, None)
        super().come_to_rest()


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 40))])
def test_random_histories_converge(realm: Realm, seed: int) -> None:
    rng = random.Random(seed)
    game = RestoredGame(realm)
    try:
        for _ in range(30):
            move(game, rng)
        game.come_to_rest()
    except Exception as failure:
        failure.add_note("\n".join(game.story))
        raise


def move(game: RestoredGame, rng: random.Random) -> None:
    number, key, luck = rng.randrange(3), rng.choice(KEYS), rng.random()
    if luck < 0.12:
        game.delete(number, key)
    elif luck < 0.5:
        game.write(number, key)
    elif luck < 0.85:
        game.sync(number, random_plan(rng))
    elif luck < 0.9:
        game.straggle(number, rng.randrange(20))
    elif game.taken is None:
        game.take()
    else:
        game.put_back()
