"""The audit log over HTTP: who did what, who changed which row between two dates, and taking it out."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin.people import Person, data, make, refused
from audit.conftest import Database
from audit.test_verifying import verified
from conftest import Process
from device import Device
from sync_server.accounts.roles import Role
from sync_server.stored.versions import RowKey, recorded_name
from users import NewUser, User, sync_all


@pytest.fixture(scope="module")
def http(audited: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=audited.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def database(databases: dict[str, Database]) -> Database:
    return databases["full"]


@pytest.fixture(scope="module")
def admin(http: httpx.Client, database: Database) -> Person:
    return make(http, database.connection, "full", Role.ADMIN).signed_in()


@pytest.fixture
def user(new_user: NewUser) -> User:
    user = new_user()
    user.device()
    assert user.space_id
    return user


def logs(path: str = "") -> str:
    return f"/realms/full/audit-logs{path}"


def push(phone: Device, *titles: str) -> None:
    """One push each, of the same note."""
    for title in titles:
        phone.save("notes", "n1", {"title": title})
        phone.sync()


def now() -> str:
    """A moment between what has been done and what is done next."""
    moment = datetime.now(UTC) + timedelta(milliseconds=5)
    time.sleep(0.01)
    return moment.isoformat()


def test_an_auditor_is_shown_who_changed_a_row_between_two_dates(admin: Person, user: User) -> None:
    phone, tablet = user.devices[0], user.device()
    push(phone, "first")
    tablet.sync()
    begin = now()
    push(tablet, "tampered with")
    end = now()
    phone.sync()
    push(phone, "mended")
    wanted = {"table": "notes", "rowguid": "n1", "since": begin, "until": end}
    [change] = admin.get(logs("/changes"), **wanted)
    assert (change["operation"], change["old"]["title"], change["new"]["title"]) == ("update", "first", "tampered with")
    assert (change["user"]["email"], change["device"], change["address"]) == (user.email, tablet.client_id, "127.0.0.1")
    assert begin[:19] <= change["at"][:19] <= end[:19]
    assert change["request_id"]
    assert admin.get(logs("/changes"), **wanted, user=str(user.space_id)) == [change]
    assert admin.get(logs("/changes"), **wanted, user=admin.id) == []


def test_what_admins_do_is_listed_with_old_and_new_values(admin: Person, user: User) -> None:
    one = f"/realms/full/users/{user.space_id}"
    etag = admin.call("GET", one).headers["ETag"]
    headers = {"If-Match": etag, "X-Request-ID": "audit-test-1"}
    data(admin.call("PATCH", one, json={"name": "Zoë"}, headers=headers))
    [line] = admin.get(logs(), entity="user", entity_id=str(user.space_id))
    assert (line["action"], line["old"]["name"], line["new"]["name"]) == ("user.update", "Ann", "Zoë")
    assert line["who"] == {
        "user_id": admin.id,
        "email": admin.email,
        "realm": "full",
        "role": "admin",
        "device": None,
        "address": "127.0.0.1",
        "via": "api",
    }
    assert line["request_id"] == "audit-test-1"
    assert not line["erased"]


def test_pages_go_through_all_chains_in_the_order_of_time(admin: Person, new_user: NewUser) -> None:
    """Each line once, the latest first, whichever index is walked."""
    users = [new_user() for _ in range(3)]
    for user in users:
        phone = user.device()
        push(phone, "a", "b", "c")
    for filters in ({"action": "rows.push"}, {"user": str(users[0].space_id)}, {"entity_id": str(users[1].space_id)}):
        whole = admin.get(logs(), limit=200, **filters)
        assert [line["at"] for line in whole] == sorted((line["at"] for line in whole), reverse=True)
        paged: list[Any] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = admin.call("GET", logs(), params={"limit": 2, **filters, **cursor})
            paged += data(answer)
            following = answer.json()["meta"]["pagination"]["next"]
            if following is None:
                break
            cursor = {"cursor": following}
        assert paged == whole
        assert len({line["id"] for line in paged}) == len(paged) >= 3


def test_changes_of_one_push_go_over_several_pages(admin: Person, user: User) -> None:
    phone = user.devices[0]
    for number in range(7):
        phone.insert("todos", str(number), {"n": number})
    phone.sync()
    found: list[str] = []
    cursor: dict[str, Any] = {}
    for _ in range(4):
        answer = admin.call("GET", logs("/changes"), params={"limit": 2, "user": str(user.space_id), **cursor})
        found += [change["rowguid"] for change in data(answer)]
        cursor = {"cursor": answer.json()["meta"]["pagination"]["next"]}
    assert sorted(found) == [str(number) for number in range(7)]
    assert cursor == {"cursor": None}


def test_long_values_are_in_the_export_alone(admin: Person, user: User) -> None:
    phone = user.devices[0]
    push(phone, "x" * 70_000, "short")
    short, long = admin.get(logs("/changes"), user=str(user.space_id))
    assert (short["old"], long["new"]) == (None, None)
    assert short["old_bytes"] == long["new_bytes"] > 70_000
    exported = admin.call("GET", logs("/export"), params={"user": str(user.space_id)})
    assert exported.headers["Content-Disposition"] == 'attachment; filename="audit-full.jsonl"'
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [len(line["new"]["title"]) for line in lines] == [5, 70_000]
    assert len(lines[0]["old"]["title"]) == 70_000


def test_an_export_as_csv_is_a_table(admin: Person, user: User) -> None:
    push(user.devices[0], "a", "b")
    exported = admin.call("GET", logs("/export"), params={"user": str(user.space_id), "format": "csv"})
    assert exported.headers["Content-Disposition"] == 'attachment; filename="audit-full.csv"'
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert [row["action"] for row in rows] == ["row.update", "row.update"]
    assert json.loads(rows[0]["new"])["title"] == "b"


def test_what_an_operator_brings_back_is_a_change_too(admin: Person, user: User, database: Database) -> None:
    phone = user.devices[0]
    push(phone, "good", "bad")
    first = user.history()[0]
    row = RowKey(user.space_id, "notes", "n1").id
    version = recorded_name(first["stamp"], first["ordinal"])
    data(admin.call("POST", f"/realms/full/rows/{row}/restore", json={"version": version}))
    latest, *_ = admin.get(logs("/changes"), user=admin.id)
    assert (latest["user"]["email"], latest["device"]) == (admin.email, None)
    assert (latest["old"]["title"], latest["new"]["title"]) == ("bad", "good")
    found = verified(database, user.space_id)
    assert (found.lines, found.uncovered, found.findings) == (3, 0, [])
    push(phone, "better")
    sync_all(phone)
    assert verified(database, user.space_id).findings == []


def test_who_is_deleted_leaves_lines_without_values(admin: Person, user: User, database: Database) -> None:
    push(user.devices[0], "secret")
    one = f"/realms/full/users/{user.space_id}"
    etag = admin.call("GET", one).headers["ETag"]
    data(admin.call("PATCH", one, json={"name": "Another"}, headers={"If-Match": etag}))
    data(admin.call("DELETE", one))
    lines = admin.get(logs(), entity_id=str(user.space_id))
    assert [line["action"] for line in lines] == ["user.delete", "user.update", "rows.push"]
    assert [line["erased"] for line in lines] == [False, True, True]
    assert "Another" not in json.dumps(lines)
    assert lines[2]["who"]["address"] is None
    assert admin.get(logs("/changes"), user=str(user.space_id)) == []
    [exported] = [
        json.loads(line)
        for line in admin.call("GET", logs("/export"), params={"user": str(user.space_id)}).text.splitlines()
    ]
    assert (exported["action"], exported["new"], exported["email"]) == ("rows.push", None, None)
    assert verified(database, user.space_id).findings == []
    assert verified(database).findings == []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"user": "ann"}, "user"),
        ({"table": "x"}, "table"),
        ({"action": "a\0"}, "action"),
    ],
)
def test_what_is_no_filter_is_refused(admin: Person, parameters: dict[str, str], field: str) -> None:
    assert field in refused(admin.call("GET", logs(), params=parameters), 422, "invalid")["fields"]


def test_a_format_that_is_none_is_refused(admin: Person) -> None:
    refused(admin.call("GET", logs("/export"), params={"format": "xml"}), 422, "invalid")
