"""G2, G3, G6 with tombstones pruned: a delete reaches everybody, however long they were away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from device import Device
from retention.conftest import KEEP, Prune, run
from sync_server.retention import pruning
from users import User, sync_all
from wire import Server

ROWS = [str(number) for number in range(5)]


def household(user: User, number: int = 2) -> list[Device]:
    """Devices that hold the same rows, and whose cursors the server has got back."""
    devices = [user.device() for _ in range(number)]
    for guid in ROWS:
        devices[0].insert("todos", guid, {"title": guid})
    sync_all(*devices)
    sync_all(*devices)
    return devices


def delete_everything(device: Device) -> None:
    for guid in ROWS:
        device.delete("todos", guid)
    device.sync()


def tombstones(user: User) -> int:
    return sum(row["operation"] == "D" for row in user.rows().values())


def test_what_everybody_has_heard_of_goes(user: User, prune: Prune) -> None:
    phone, tablet = household(user)
    delete_everything(phone)
    sync_all(phone, tablet)
    sync_all(phone, tablet)
    assert tombstones(user) == 5
    prune(tombstones=0)
    assert user.rows() == {}
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == {}
    assert user.rows() == {}


def test_nothing_goes_before_its_age(user: User, prune: Prune) -> None:
    phone, tablet = household(user)
    delete_everything(phone)
    sync_all(phone, tablet)
    sync_all(phone, tablet)
    prune(tombstones=60_000)
    prune()
    assert tombstones(user) == 5


def test_a_device_that_was_away_longer_than_everything_else_still_converges(user: User, prune: Prune) -> None:
    phone, tablet, away = household(user, 3)
    delete_everything(phone)
    for _ in range(3):
        sync_all(phone, tablet)
        prune(tombstones=0)
    assert tombstones(user) == 5
    away.sync()
    assert away.state.rows == {}
    prune(tombstones=0)
    assert tombstones(user) == 5, "it was sent the deletes, but has not yet said that it got them"
    away.sync()
    prune(tombstones=0)
    assert user.rows() == {}


def test_only_live_rows_are_for_new_devices_so_they_hold_nothing_up(user: User, prune: Prune) -> None:
    phone, tablet = household(user)
    user.device()  # registered, and never seen again
    delete_everything(phone)
    sync_all(phone, tablet)
    sync_all(phone, tablet)
    prune(tombstones=0)
    assert user.rows() == {}


def test_a_client_of_which_nothing_is_known_holds_up_all(user: User, prune: Prune) -> None:
    """It pulled before its cursor was kept, or on the server that this one succeeds."""
    phone, tablet = household(user)
    delete_everything(phone)
    sync_all(phone, tablet)
    sync_all(phone, tablet)
    user.connection.execute("UPDATE sync.clients SET acknowledged = NULL WHERE id = %s", (tablet.client_id,))
    prune(tombstones=0)
    assert tombstones(user) == 5


def test_a_device_restored_from_an_old_backup_hears_of_deletes_that_were_pruned(user: User, prune: Prune) -> None:
    phone, tablet = household(user)
    backup = tablet.backup()
    phone.update("todos", "4", {"title": "changed"})
    delete_everything(phone)
    phone.insert("todos", "1", {"title": "back again"})
    sync_all(phone, tablet)
    sync_all(phone, tablet)
    prune(tombstones=0)
    assert tombstones(user) == 0
    tablet.restore(backup)
    tablet.sync()
    assert tablet.state.rows == {("todos", "1"): {"title": "back again"}}
    prune(tombstones=0)
    assert tombstones(user) == 4, "the restored device has not said yet that it got them"
    sync_all(tablet, phone)
    prune(tombstones=0)
    assert tombstones(user) == 0


def test_without_the_history_such_a_device_keeps_what_was_deleted_and_loses_nothing(user: User, prune: Prune) -> None:
    phone, tablet = household(user)
    backup = tablet.backup()
    delete_everything(phone)
    sync_all(phone, tablet)
    sync_all(phone, tablet)
    prune(tombstones=0)
    # as pruning would, which takes its time for all the users of the realm
    user.connection.execute("DELETE FROM sync.history WHERE space_id = %s", (user.space_id,))
    tablet.restore(backup)
    sync_all(tablet, phone)
    assert len(tablet.state.rows) == 5
    tablet.update("todos", "2", {"title": "edited"})
    sync_all(tablet, phone)
    assert phone.state.rows == {("todos", "2"): {"title": "edited"}}


def test_a_space_that_is_being_pushed_to_is_left_for_the_next_time(user: User, prune: Prune) -> None:
    phone, tablet = household(user)
    delete_everything(phone)
    sync_all(phone, tablet)
    sync_all(phone, tablet)
    with user.connection.transaction():
        user.connection.execute("SELECT 1 FROM sync.spaces WHERE id = %s FOR UPDATE", (user.space_id,))
        prune(tombstones=0)
        assert tombstones(user) == 5
    prune(tombstones=0)
    assert tombstones(user) == 0


def test_more_than_a_portion_goes_in_portions(user: User, server: Server, prune: Prune) -> None:
    phone, tablet = household(user)
    many = 2 * pruning.PORTION + 1
    user.connection.execute(
        "INSERT INTO sync.rows SELECT %s, 'todos', 'old' || i, 'D', NULL, i, i, 1, i, %s FROM generate_series(1, %s) i",
        (user.space_id, phone.client_id, many),
    )
    found = run(server.dsn(server.realm), lambda realm: pruning.count(realm, {**KEEP, "tombstones": 0}))
    assert found["tombstones"] >= many
    assert prune(tombstones=0)["tombstones"] >= many
    assert tombstones(user) == 0
    sync_all(phone, tablet)
    assert len(phone.state.rows) == 5


def test_pruning_all_the_time_disturbs_nobody(user: User, prune: Prune) -> None:
    """Two instances prune while the devices sync at the same time."""
    devices = household(user, 4)

    def live(number: int) -> None:
        device = devices[number]
        for turn in range(8):
            key = ("todos", f"{number} {turn % 3}")
            if key in device.state.rows:
                device.delete(*key)
            else:
                device.insert(*key, {"title": f"{turn}"})
            device.tries_to_sync()

    with ThreadPoolExecutor(6) as pool:
        lives = [pool.submit(live, number) for number in range(len(devices))]
        pruning_now = [pool.submit(lambda: [prune(tombstones=0) for _ in range(5)]) for _ in range(2)]
        for life in lives:
            life.result()
        for work in pruning_now:
            work.result()
    for device in devices:
        user.two_minutes_pass(device)
    sync_all(*devices)
    sync_all(*devices)
    fresh = user.device()
    fresh.sync()
    for device in devices:
        assert device.state.rows == fresh.state.rows
