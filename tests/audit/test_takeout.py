""" "Send me all my data": one archive with everything that is stored about a user, and nothing of anybody else."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from admin.people import Person, data, make, refused
from audit.conftest import Database, in_realm
from conftest import Process
from sync_server import takeout
from sync_server.accounts.roles import Role
from sync_server.realms import Realm
from users import NewUser, User, at, change, sync_all


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
    """With two devices, a conflict, a deleted row, and a change that could not be stored."""
    user = new_user()
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "first"})
    phone.insert("todos", "2", {"title": "to be deleted"})
    sync_all(phone, tablet)
    phone.clock, tablet.clock = at(2_000_000), at(1_000_000)
    phone.update("todos", "1", {"title": "ours", "count": 1.0})
    tablet.update("todos", "1", {"title": "theirs"})
    phone.delete("todos", "2")
    sync_all(phone, tablet)
    phone.pull([], phone.state.cursor)
    phone.push([change("I", "a\0b", 1, {"title": "kept aside"})])
    assert user.space_id
    return user


def files(archive: bytes) -> dict[str, Any]:
    """What is in an archive, whose checksums are right: by name, the lines of those that have lines."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        texts = {name: opened.read(name).decode() for name in opened.namelist()}
    return {
        name: [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else text
        for name, text in texts.items()
    }


def exported(admin: Person, user: User) -> dict[str, Any]:
    answer = admin.call("GET", f"/realms/full/users/{user.space_id}/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="user-{user.space_id}.zip"'
    return files(answer.content)


def test_everything_that_is_stored_is_in_the_archive(admin: Person, user: User) -> None:
    found = exported(admin, user)
    account = json.loads(found["account.json"])
    assert (account["email"], account["name"]) == (user.email, "Ann")
    assert {(row["rowguid"], row["operation"]) for row in found["rows.jsonl"]} == {("1", "U"), ("2", "D")}
    assert next(row for row in found["rows.jsonl"] if row["rowguid"] == "1")["data"]["title"] == "ours"
    assert len(found["history.jsonl"]) == len(user.history())
    assert found["history.jsonl"][0]["data"]["title"] == "first"
    assert [version["data"]["title"] for version in found["overridden.jsonl"]] == ["theirs"]
    [aside] = found["kept_aside.jsonl"]
    assert aside["data"]["rowData"] == {"title": "kept aside"}
    assert {device["id"] for device in found["devices.jsonl"]} == {device.client_id for device in user.devices}
    assert {line["action"] for line in found["audit.jsonl"]} == {"rows.push", "user.export"}
    assert all(f"{name} " in found["README.txt"] for name in found if name != "README.txt")


def test_data_is_as_it_was_sent(admin: Person, user: User) -> None:
    archive = admin.call("GET", f"/realms/full/users/{user.space_id}/export").content
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert b'"count":1.0' in opened.read("rows.jsonl")


def test_no_secret_and_nothing_of_others_is_in_the_archive(
    admin: Person, user: User, new_user: NewUser, database: Database
) -> None:
    stranger = new_user()
    stranger.device().insert("todos", "s", {"title": "of a stranger"})
    stranger.devices[0].sync()
    [row] = database.select("SELECT * FROM sync.users WHERE id = %s", user.space_id)
    text = json.dumps(exported(admin, user))
    [client] = database.select("SELECT * FROM sync.clients WHERE id = %s", user.devices[0].client_id)
    for secret in (row["password_hash"], client["refresh_id"], "of a stranger", stranger.email, admin.email):
        assert secret not in text


def test_who_handled_the_account_is_in_it_without_their_address(admin: Person, user: User) -> None:
    one = f"/realms/full/users/{user.space_id}"
    etag = admin.call("GET", one).headers["ETag"]
    data(admin.call("PATCH", one, json={"name": "Zoë"}, headers={"If-Match": etag}))
    [line] = [line for line in exported(admin, user)["audit.jsonl"] if line["action"] == "user.update"]
    assert (line["user_id"], line["address"]) == (admin.id, None)
    assert line["data"] == {"old": {"name": "Ann"}, "new": {"name": "Zoë"}}


def test_an_admin_who_exports_their_own_finds_what_they_did_but_not_to_whom(admin: Person, user: User) -> None:
    one = f"/realms/full/users/{user.space_id}"
    etag = admin.call("GET", one).headers["ETag"]
    data(admin.call("PATCH", one, json={"name": "Somebody's name"}, headers={"If-Match": etag}))
    archive = files(admin.call("GET", f"/realms/full/users/{admin.id}/export").content)
    line = next(line for line in archive["audit.jsonl"] if line["entity_id"] == str(user.space_id))
    assert (line["address"], line["data"]) == ("127.0.0.1", None)
    assert len(archive["sessions.jsonl"]) == 1


def test_pages_of_many_rows_leave_none_out(database: Database, user: User) -> None:
    database.connection.execute(
        """
        INSERT INTO sync.rows
            (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
        SELECT %s, 'many', n::text, 'I',
            concat('{"x": "', repeat('y', CASE WHEN n %% 400 = 0 THEN 2000000 ELSE 10 END), '"}'), 1, 1, n, 1, %s
        FROM generate_series(1, 1700) n
        """,
        [user.space_id, user.devices[0].client_id],
    )

    async def run(realm: Realm) -> list[bytes]:
        account = await realm.read(lambda tx: takeout.account(tx, user.space_id))
        assert account is not None
        return [piece async for piece in takeout.archive(realm, account)]

    pieces = in_realm(database.url, run)
    found = files(b"".join(pieces))["rows.jsonl"]
    assert sorted(int(row["rowguid"]) for row in found if row["tablename"] == "many") == list(range(1, 1701))
    assert len(pieces) > 8, "page by page"


def test_who_is_not_there_has_no_archive(admin: Person) -> None:
    refused(admin.call("GET", f"/realms/full/users/{uuid.uuid4()}/export"), 404, "user_not_found")


def test_the_command_writes_a_file_for_its_owner_alone(audited: Process, user: User, tmp_path: Path) -> None:
    file = tmp_path / "ann.zip"
    command = [sys.executable, "-m", "sync_server.cli", "user", "export", "--realm", "full", user.email, str(file)]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=audited.directory, capture_output=True, text=True, check=False, timeout=60)

    done = run()
    assert done.returncode == 0, done.stderr
    assert len(files(file.read_bytes())["rows.jsonl"]) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = run()
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1), "nothing is written over"
    assert "is there already" in again.stderr
