"""G1, G2, G3, G7: what was acknowledged is durable, everybody hears of it, and nobody of what they said themselves."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from device import PART, Device, unhindered
from server.operating import wait_for
from users import User, at, look_into, sync_all
from wire import Crash, On, Server, Transport, crash_after, crash_before, lose_answer, lose_request, meanwhile


def titles(device: Device) -> dict[str, str]:
    return {guid: row["title"] for (_, guid), row in device.state.rows.items()}


# G1


def test_g1_an_acknowledged_change_is_durable(user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    assert not phone.state.log
    assert user.rows()["todos", "1"]["row_data"] == '{"rowguid":"1","title":"milk"}'
    assert titles(_synced(user.device())) == {"1": "milk"}


@pytest.mark.parametrize("count", [PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 50])
def test_g1_the_changes_of_every_part_are_durable(user: User, count: int) -> None:
    phone = user.device()
    for number in range(count):
        phone.insert(random.choice(["todos", "notes"]), f"{number}", {"title": f"row {number}"})
    phone.sync()
    assert len(user.rows()) == len(user.history()) == count
    assert _synced(user.device()).state.rows == phone.state.rows


def test_g1_an_acknowledged_change_that_was_replaced_since_lost_to_a_later_one(user: User) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    sync_all(phone, tablet)
    tablet.update("todos", "1", {"title": "bread"})
    tablet.sync()
    assert [line["client_id"].hex for line in user.history()] == [
        device.client_id.replace("-", "") for device in (phone, tablet)
    ]
    assert user.history()[0]["stamp"] < user.history()[1]["stamp"]


@pytest.mark.parametrize("fault", [lose_request, lose_answer, crash_before, crash_after])
@pytest.mark.parametrize("call", ["/login", "/pull", "/push", "/cancelSync"])
def test_g1_a_change_is_never_lost_whatever_call_fails(user: User, call: str, fault: Transport) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.transport = On(call, fault, times=2 if fault in (lose_request, lose_answer) else 1)
    phone.tries_to_sync()
    user.two_minutes_pass(phone)
    sync_all(phone, tablet)
    assert titles(tablet) == titles(phone) == {"1": "milk"}
    assert len(user.history()) == 1


@pytest.mark.parametrize("step", ["captured", "apply", "applied", "pushed", "forgotten"])
def test_g1_a_change_is_never_lost_wherever_the_app_crashes(user: User, step: str) -> None:
    phone, tablet = user.device(), user.device()
    tablet.insert("todos", "2", {"title": "bread"})
    tablet.sync()
    phone.insert("todos", "1", {"title": "milk"})
    phone.step = _crash_at(step)
    assert not phone.tries_to_sync()
    phone.step = unhindered
    user.two_minutes_pass(phone)
    sync_all(phone, tablet)
    assert titles(tablet) == titles(phone) == {"1": "milk", "2": "bread"}


# G2


def test_g2_a_change_committed_between_pull_and_push_is_delivered_by_the_next_pull(user: User) -> None:
    phone, tablet = user.device(), user.device()
    sync_all(phone, tablet)
    tablet.insert("todos", "2", {"title": "bread"})
    phone.insert("todos", "1", {"title": "milk"})
    phone.transport = On("/push", meanwhile(tablet.sync))
    phone.sync()
    assert titles(phone) == {"1": "milk"}
    phone.sync()
    assert titles(phone) == {"1": "milk", "2": "bread"}


def test_g2_it_is_delivered_also_to_a_device_without_changes(user: User) -> None:
    phone, tablet = user.device(), user.device()
    sync_all(phone, tablet)
    tablet.insert("todos", "2", {"title": "bread"})
    phone.transport = On("/push", meanwhile(tablet.sync))
    phone.sync()
    phone.sync()
    assert titles(phone) == {"2": "bread"}


@pytest.mark.parametrize("part", [1, 2, 3])
def test_g2_a_change_committed_between_two_parts_is_delivered(user: User, part: int) -> None:
    phone, tablet = user.device(), user.device()
    for number in range(2 * PART + 1):
        phone.insert("todos", f"{number}", {"title": "phone"})
    tablet.insert("todos", "bread", {"title": "tablet"})
    phone.transport = On("/push", meanwhile(tablet.sync), first=part)
    phone.sync()
    phone.sync()
    assert titles(phone)["bread"] == "tablet"
    tablet.sync()
    assert tablet.state.rows == phone.state.rows


def test_g2_the_winner_of_a_row_that_both_edited_in_between_is_delivered(user: User) -> None:
    phone, tablet = user.device(clock=at(1000)), user.device(clock=at(2000))
    phone.insert("todos", "1", {"title": "milk"})
    sync_all(phone, tablet)
    phone.update("todos", "1", {"title": "phone"})
    tablet.update("todos", "1", {"title": "tablet"})
    phone.transport = On("/push", meanwhile(tablet.sync))
    sync_all(phone, tablet)
    assert titles(phone) == titles(tablet) == {"1": "tablet"}


@pytest.mark.parametrize("hours", [-1, 1])
def test_g2_changes_are_delivered_also_when_the_servers_clocks_differ(user: User, hours: int) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    sync_all(phone, tablet)
    user.set_clock(user.clock + hours * 3_600_000)  # the last change came through a server an hour ahead, or behind
    tablet.insert("todos", "2", {"title": "bread"})
    tablet.sync()
    before = user.clock
    phone.insert("todos", "3", {"title": "wine"})
    phone.transport = On("/push", meanwhile(tablet.sync))
    sync_all(phone, tablet)
    assert user.clock > before
    assert phone.state.rows.keys() == tablet.state.rows.keys() == user.rows().keys()


def test_g2_no_change_passes_a_reader_while_many_devices_push_at_once(user: User) -> None:
    reader, writers = user.device(), [user.device() for _ in range(4)]

    def write(number: int) -> None:
        for turn in range(8):
            writers[number].insert("todos", f"{number}-{turn}", {"title": "x"})
            writers[number].sync()

    with ThreadPoolExecutor(len(writers)) as pool:
        done = [pool.submit(write, number) for number in range(len(writers))]
        while not all(future.done() for future in done):
            reader.sync()
        for future in done:
            future.result()
    reader.sync()
    assert len(reader.state.rows) == 32
    stamps = [line["stamp"] for line in user.history()]
    assert len(set(stamps)) == 32, "two pushes got the same stamp"


def test_g2_a_push_that_has_its_stamp_is_not_overtaken_by_another_one(user: User, server: Server) -> None:
    """What was stamped earlier and committed later would have passed a reader who pulled in between."""
    slow, quick, reader = user.device(), user.device(), user.device()
    slow.insert("todos", "1", {"title": "milk"})
    sync_all(slow, quick, reader)
    slow.update("todos", "1", {"title": "cream"})
    quick.insert("todos", "2", {"title": "bread"})
    with look_into(server.dsn(server.realm)) as connection, ThreadPoolExecutor(2) as threads:
        with connection.transaction():
            connection.execute("SELECT 1 FROM sync.rows WHERE space_id = %s FOR UPDATE", (user.space_id,))
            pushes = [threads.submit(slow.sync)]
            wait_for(lambda: waiting(user) >= 1)  # what devices do is reported meanwhile, and may wait, too
            pushes.append(threads.submit(quick.sync))
            wait_for(lambda: waiting(user) >= 2 or pushes[1].done())
            reader.sync()
        for push in pushes:
            push.result(60)
    sync_all(reader, quick)
    assert titles(reader) == titles(slow) | titles(quick) == {"1": "cream", "2": "bread"}


def waiting(user: User) -> int:
    """Statements of servers that wait for a lock in the user's database."""
    query = """
        SELECT count(*) AS waiting FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = 'sync-server'
    """
    count = user.connection.execute(query).fetchall()[0]["waiting"]
    assert isinstance(count, int)
    return count


# G3


def test_g3_devices_that_edited_the_same_rows_offline_hold_the_same_in_the_end(user: User) -> None:
    devices = [user.device() for _ in range(3)]
    for round_ in range(3):
        for number, device in enumerate(devices):
            device.save("todos", "1", {"title": f"{round_} {number}"})
            device.save("notes", f"{number}", {"title": f"{round_}"})
            if ("todos", "2") in device.state.rows:
                device.delete("todos", "2")
            else:
                device.insert("todos", "2", {"title": f"{round_} {number}"})
        for device in devices if round_ % 2 else reversed(devices):
            device.sync()
    sync_all(*devices)
    fresh = _synced(user.device())
    assert all(device.state.rows == fresh.state.rows for device in devices)


# G7


def test_g7_a_device_is_not_sent_its_own_acknowledged_changes(user: User) -> None:
    phone = user.device()
    for number in range(PART + 1):
        phone.insert("todos", f"{number}", {"title": "milk"})
    phone.sync()
    phone.update("todos", "1", {"title": "bread"})
    phone.sync()
    assert not phone.pulled
    phone.sync()
    assert not phone.pulled


def test_g7_nor_changes_that_it_has_heard_of(user: User) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    tablet.sync()
    assert [row["clientid"] for row in tablet.pulled] == [phone.client_id]
    tablet.sync()
    assert not tablet.pulled


def test_g7_a_device_that_asks_with_an_older_cursor_gets_its_own_changes_too(user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    phone.state.cursor, phone.state.rows = 0, {}
    phone.sync()
    assert titles(phone) == {"1": "milk"}


def test_g7_a_row_comes_with_all_that_a_device_wants_to_know_of_it(user: User) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    date = phone.state.log[0].date
    phone.sync()
    answer = tablet.pull()
    assert answer["clientId"] == tablet.client_id
    assert answer["outdatedRowsGuid"] == []
    [row] = answer["data"]
    assert row.pop("serverdate") == user.clock
    assert row == {
        "operation": "I",
        "rowguid": "1",
        "tablename": "todos",
        "clientdate": date,
        "clientid": phone.client_id,
        "rowData": {"rowguid": "1", "title": "milk"},
    }


def test_g7_rows_come_in_the_order_in_which_they_became_durable(user: User) -> None:
    phone, tablet = user.device(), user.device()
    for guid in "cab":
        phone.insert("todos", guid, {"title": guid})
    phone.sync()
    phone.insert("todos", "0", {"title": "last"})
    phone.update("todos", "a", {"title": "again"})
    phone.sync()
    assert [row["rowguid"] for row in tablet.pull()["data"]] == ["c", "b", "0", "a"]


def _synced(device: Device) -> Device:
    device.sync()
    return device


def _crash_at(step: str) -> Callable[[str], None]:
    def crash(name: str) -> None:
        if name == step:
            raise Crash

    return crash
