"""What devices do is reported every few seconds: a row per device, and sums by the hour."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from device import Device, Refused, Unauthorized
from postgres import realm_at
from sync_server import pools, reports
from sync_server.accounts import tokens
from sync_server.config import Config, Database
from sync_server.observing import Call
from sync_server.realms import Realms
from sync_server.reports import Reports
from users import Connection, User, look_into

HOUR, DAY = 3_600_000, 86_400_000


def call(device: UUID | None, **values: Any) -> Call:
    made = Call("1")
    made.realm, made.status, made.complete = "main", 200, True
    if device is not None:
        made.device = tokens.Device("main", uuid4(), device, 0, 0, 0, "")
    for name, value in values.items():
        setattr(made, name, value)
    return made


def pull(device: UUID, **values: Any) -> tuple[Call, str]:
    return call(device, **values), "/pull/{realm_name:str}"


def push(device: UUID, **values: Any) -> tuple[Call, str]:
    return call(device, **values), "/push/{realm_name:str}/{client_id:str}"


def report(url: str, *batches: list[tuple[Call, str]]) -> Reports:
    """Have servers report these calls, one report each."""

    async def doing() -> Reports:
        realms = Realms(Config(Database({"main": realm_at(url)}), base=Path("/nonexistent")), {"main": url})
        try:
            made = Reports(realms)
            for batch in batches:
                for one, route in batch:
                    made.add(one, route)
                await made.report()
            return made
        finally:
            await realms.close()

    return asyncio.run(doing())


def make_client(database: Connection) -> UUID:
    user, client = uuid4(), uuid4()
    database.execute("INSERT INTO sync.spaces (id) VALUES (%s)", [user])
    database.execute(
        "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash) VALUES (%s, %s, %s, %s, '', '')",
        [user, user, str(user), str(user)],
    )
    database.execute("INSERT INTO sync.clients (id, user_id) VALUES (%s, %s)", [client, user])
    return client


def status(database: Connection, client: UUID | str) -> dict[str, Any]:
    [found] = database.execute("SELECT * FROM sync.device_status WHERE client_id = %s", [client]).fetchall()
    return found


def sums(database: Connection) -> dict[str, int]:
    return {line["name"]: line["amount"] for line in database.execute("SELECT * FROM sync.stats").fetchall()}


def test_a_device_is_told_of_with_its_latest_pull_sync_and_failure(database_url: str) -> None:
    with look_into(database_url) as database:
        phone = make_client(database)
        report(
            database_url,
            [
                pull(phone, rows_out=7),
                push(phone, rows_in=3),
                push(phone, rows_in=2, synced=True, took=1234),
                pull(phone, status=409, error="already_syncing"),
            ],
        )
        found = status(database, phone)
        now = database.execute("SELECT (extract(epoch FROM now()) * 1000)::bigint AS now").fetchall()[0]["now"]
    assert (found["pulled"], found["pushed"], found["took"], found["pushing"]) == (7, 5, 1234, 0)
    assert (found["error"], found["error_call"]) == ("already_syncing", "pull")
    assert all(now - 10_000 < found[name] <= now for name in ("seen", "pulled_at", "synced_at", "error_at"))


def test_parts_of_a_push_that_several_servers_got_make_one_sync(database_url: str) -> None:
    with look_into(database_url) as database:
        phone = make_client(database)
        report(database_url, [push(phone, rows_in=100)], [push(phone, rows_in=100)])
        assert (status(database, phone)["pushing"], status(database, phone)["synced_at"]) == (200, None)
        report(database_url, [push(phone, rows_in=50, synced=True, took=9)])
        report(database_url, [pull(phone, rows_out=1)])
        found = status(database, phone)
    assert (found["pushed"], found["pushing"], found["took"], found["pulled"]) == (250, 0, 9, 1)


def test_what_is_newer_stays(database_url: str) -> None:
    """A server that was held up reports late."""
    with look_into(database_url) as database:
        phone = make_client(database)
        late = pull(phone, status=409, error="already_syncing")
        report(database_url, [pull(phone, rows_out=2), pull(phone, status=503, error="unavailable")])
        ahead = "seen = seen + 60000, pulled_at = pulled_at + 60000, error_at = error_at + 60000"
        database.execute(f"UPDATE sync.device_status SET {ahead}".encode())
        before = status(database, phone)
        report(database_url, [late, pull(phone, rows_out=9)])
        assert status(database, phone) == before


def test_sums_by_the_hour_add_up_over_servers(database_url: str) -> None:
    with look_into(database_url) as database:
        phone, tablet = make_client(database), make_client(database)
        batch = [
            pull(phone, rows_out=7, bytes_in=10, bytes_out=100),
            push(phone, rows_in=5, synced=True, conflicts=2, aside=1, bytes_in=30, bytes_out=4),
            push(tablet, status=409, error="pull_first"),
            (call(None, status=403, error="login_rejected"), "/login/{realm_name:str}"),
        ]
        report(database_url, batch, batch)
        hours = [line["hour"] for line in database.execute("SELECT DISTINCT hour FROM sync.stats").fetchall()]
        assert sums(database) == {
            "calls": 8,
            "rows_out": 14,
            "rows_in": 10,
            "syncs": 2,
            "conflicts": 4,
            "kept_aside": 2,
            "errors": 4,
            "bytes_in": 80,
            "bytes_out": 208,
            "error:pull_first": 2,
            "error:login_rejected": 2,
        }
        active = database.execute("SELECT client_id, day, hours FROM sync.activity").fetchall()
    assert all(hour % HOUR == 0 and abs(time.time() * 1000 - hour) < 2 * HOUR for hour in hours)
    assert {line["client_id"] for line in active} == {phone, tablet}
    assert {(line["day"] % DAY, line["hours"]) for line in active} <= {(0, 1 << hour % DAY // HOUR) for hour in hours}


def test_the_hours_of_a_day_are_gathered(database_url: str) -> None:
    with look_into(database_url) as database:
        phone = make_client(database)
        report(database_url, [pull(phone)])
        [found] = database.execute("SELECT hours FROM sync.activity").fetchall()
        other = 1 if found["hours"] != 1 else 2
        database.execute("UPDATE sync.activity SET hours = %s", [other])
        report(database_url, [pull(phone)])
        [now] = database.execute("SELECT hours FROM sync.activity").fetchall()
    assert now["hours"] & other
    assert now["hours"] != other


def test_what_is_left_is_reported_at_the_end(database_url: str) -> None:
    async def ending() -> None:
        realms = Realms(
            Config(Database({"main": realm_at(database_url)}), base=Path("/nonexistent")), {"main": database_url}
        )
        made = Reports(realms, pause=1000)
        made.add(*pull(phone, rows_out=4))
        task = asyncio.create_task(made.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await realms.close()

    with look_into(database_url) as database:
        phone = make_client(database)
        asyncio.run(ending())
        assert status(database, phone)["pulled"] == 4


def test_what_comes_in_while_a_report_fails_is_not_overwritten_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "POOL_TIMEOUT", 0.5)
    url = "postgresql://nobody@127.0.0.1:1/none"
    phone, tablet = uuid4(), uuid4()

    async def failing() -> Reports:
        realms = Realms(Config(Database({"main": realm_at(url)}), base=Path("/nonexistent")), {"main": url})
        made = Reports(realms)
        made.add(*pull(phone, rows_out=1))
        made.add(*pull(tablet, rows_out=1))
        task = asyncio.create_task(made.report())
        await asyncio.sleep(0)
        made.add(*pull(phone, rows_out=2))
        await task
        await realms.close()
        return made

    waiting = asyncio.run(failing()).waiting["main"]
    assert (waiting.devices[phone].pulled, waiting.devices[tablet].pulled, waiting.amounts["rows_out"]) == (2, 1, 4)


def test_a_device_that_is_gone_is_passed_over(database_url: str) -> None:
    with look_into(database_url) as database:
        phone = make_client(database)
        report(database_url, [pull(uuid4(), rows_out=1), pull(phone, rows_out=2)])
        found = database.execute("SELECT client_id FROM sync.device_status").fetchall()
        assert [line["client_id"] for line in found] == [phone]
        database.execute("DELETE FROM sync.clients")
        assert not database.execute("SELECT 1 FROM sync.device_status UNION SELECT 1 FROM sync.activity").fetchall()


@pytest.mark.parametrize("route", [None, "/", "/api/v1/realms/{realm_name:str}/users", "/register/{realm_name:str}"])
def test_other_calls_are_not_reported(database_url: str, route: str | None) -> None:
    with look_into(database_url) as database:
        phone = make_client(database)
        made = report(database_url)
        made.add(call(phone), route)
        assert not made.waiting


def test_while_the_database_is_away_what_there_is_waits(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "POOL_TIMEOUT", 0.5)
    with look_into(database_url) as database:
        phone = make_client(database)
        made = report("postgresql://nobody@127.0.0.1:1/none", [pull(phone, rows_out=1, bytes_in=5)])
        made.add(*pull(phone, rows_out=2, bytes_in=5))
        waiting = made.waiting["main"]
        assert (waiting.amounts["bytes_in"], waiting.devices[phone].pulled) == (10, 2)


def test_memory_is_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_MOST", 3)
    made = report(database_url)
    for _ in range(5):
        made.add(*pull(uuid4(), rows_out=1))
    waiting = made.waiting["main"]
    assert (len(waiting.devices), waiting.amounts["rows_out"]) == (3, 5)


def test_a_server_reports_what_its_devices_do(user: User) -> None:
    """Over HTTP: a sync, a failure and a wrong password; a few seconds later the database knows."""
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    tablet.sync()
    tablet.state.access = None
    tablet.state.refresh = None
    tablet.state.password = "changed elsewhere"
    with pytest.raises(Unauthorized):
        tablet.sync()
    of_phone, of_tablet = eventually(user, phone, "synced_at"), eventually(user, tablet, "error")
    assert (of_phone["pulled"], of_phone["pushed"], of_phone["error"]) == (0, 1, None)
    assert 0 <= of_phone["took"] < 60_000
    assert (of_tablet["pulled"], of_tablet["pushed"]) == (1, 0)
    assert (of_tablet["error"], of_tablet["error_call"]) == ("login_rejected", "login")


def test_a_phone_with_a_call_that_is_too_large_is_told_of(user: User) -> None:
    """It cannot sync until somebody raises the limit, and is refused before anybody looks at its token."""
    phone = user.device()
    phone.insert("todos", "1", {"title": "x" * 9_000_000})
    with pytest.raises(Refused):
        phone.sync()
    found = eventually(user, phone, "error")
    assert (found["error"], found["error_call"]) == ("body_too_large", "push")


def test_ids_that_nobody_proved_leave_room_for_others(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_MOST", 4)
    made = report(database_url)
    for _ in range(5):
        made.add(call(None, error="login_rejected", claimed=uuid4()), "/login/{realm_name:str}")
    made.add(*pull(uuid4(), rows_out=1))
    assert len(made.waiting["main"].devices) == 3


def eventually(user: User, device: Device, known: str) -> dict[str, Any]:
    for _ in range(600):
        query = f"SELECT * FROM sync.device_status WHERE client_id = %s AND {known} IS NOT NULL"
        for line in user.connection.execute(query, [device.client_id]).fetchall():
            return line
        time.sleep(0.1)
    raise AssertionError("not reported")
