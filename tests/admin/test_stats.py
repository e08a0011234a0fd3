"""How much a realm does, by the hour and the day, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from admin.people import NewPerson, Person, refused
from users import Connection

HOUR, DAY = 3_600_000, 86_400_000
LONG_AGO = datetime(2031, 5, 7, tzinfo=UTC)
"""A day that no test's server reports anything of."""


@pytest.fixture(scope="module")
def viewer(new_person: NewPerson) -> Person:
    return new_person("viewer")


@pytest.fixture(scope="module", autouse=True)
def reported(viewer: Person) -> None:
    """Two hours of that day, and one of the next; three devices, of which one was there in both hours."""
    day = int(LONG_AGO.timestamp()) * 1000
    lines = [
        ("syncs", day + 3 * HOUR, 10),
        ("error:already_syncing", day + 3 * HOUR, 2),
        ("errors", day + 3 * HOUR, 2),
        ("syncs", day + 4 * HOUR, 5),
        ("rows_in", day + 4 * HOUR, 7),
        ("syncs", day + DAY, 100),
    ]
    for line in lines:
        viewer.connection.execute("INSERT INTO sync.stats (name, hour, amount) VALUES (%s, %s, %s)", line)
    for hours in (1 << 3, 1 << 4, 1 << 3 | 1 << 4):
        client = make_client(viewer.connection, viewer.id)
        insert = "INSERT INTO sync.activity (client_id, day, hours) VALUES (%s, %s, %s)"
        viewer.connection.execute(insert, [client, day, hours])


def make_client(connection: Connection, user: str) -> str:
    identity = str(uuid4())
    connection.execute("INSERT INTO sync.clients (id, user_id) VALUES (%s, %s)", [identity, user])
    return identity


def stats(person: Person, by: str, begin: datetime, end: datetime) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.get(
        f"/realms/{person.realm}/stats", by=by, since=begin.isoformat(), until=end.isoformat()
    )
    return found


def test_hours_are_told_also_where_nothing_happened(viewer: Person) -> None:
    found = stats(viewer, "hour", LONG_AGO + timedelta(hours=2, minutes=30), LONG_AGO + timedelta(hours=4, minutes=1))
    assert [one["at"] for one in found] == [f"2031-05-07T0{hour}:00:00Z" for hour in (2, 3, 4)]
    assert [one["syncs"] for one in found] == [0, 10, 5]
    assert [one["rows_in"] for one in found] == [0, 0, 7]
    assert [one["active_devices"] for one in found] == [0, 2, 2]
    assert [one["errors_by_code"] for one in found] == [{}, {"already_syncing": 2}, {}]


def test_days_are_sums_of_their_hours_and_count_each_device_once(viewer: Person) -> None:
    found = stats(viewer, "day", LONG_AGO - timedelta(days=1), LONG_AGO + timedelta(days=2))
    assert [one["syncs"] for one in found] == [0, 15, 100]
    assert [one["active_devices"] for one in found] == [0, 3, 0]
    assert [one["errors"] for one in found] == [0, 2, 0]


@pytest.mark.parametrize(("by", "number"), [("hour", 24), ("day", 30)])
def test_without_times_it_is_up_to_now(viewer: Person, by: str, number: int) -> None:
    found = viewer.get(f"/realms/{viewer.realm}/stats", by=by)
    assert len(found) == number
    last = datetime.fromisoformat(found[-1]["at"])
    assert last <= datetime.now(UTC) < last + timedelta(**{f"{by}s": 1}) + timedelta(minutes=1)


@pytest.mark.parametrize(("by", "days"), [("hour", 32), ("day", 401), ("day", 2_000_000)])
def test_the_time_is_bounded(viewer: Person, by: str, days: int) -> None:
    since = datetime(1, 1, 1, tzinfo=UTC) if days > 100_000 else LONG_AGO - timedelta(days=days)
    parameters = {"by": by, "since": since.isoformat(), "until": LONG_AGO.isoformat()}
    answer = viewer.call("GET", f"/realms/{viewer.realm}/stats", params=parameters)
    refused(answer, 422, "range_too_long")


def test_an_end_before_the_beginning_is_nothing(viewer: Person) -> None:
    assert stats(viewer, "hour", LONG_AGO, LONG_AGO - timedelta(days=5)) == []


@pytest.mark.parametrize("wrong", [{"by": "week"}, {"since": "yesterday"}, {"until": "x"}])
def test_parameters_are_validated(viewer: Person, wrong: dict[str, str]) -> None:
    answer = viewer.call("GET", f"/realms/{viewer.realm}/stats", params=wrong)
    assert list(refused(answer, 422, "invalid")["fields"]) == list(wrong)
