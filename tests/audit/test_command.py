"""`sync-server audit`: what an operator sees of the log without the API."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

import forking
from audit.conftest import Database
from audit.test_recording import ADMIN, write
from audit.test_verifying import tampering
from conftest import Process
from users import NewUser, User

FORMULA = '=HYPERLINK("http://evil.example","x")'


def run(process: Process, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forking.run(["audit", *arguments], process.directory)


@pytest.fixture
def user(new_user: NewUser) -> User:
    """Who has changed a row once, and has made one whose key is a formula."""
    user = new_user()
    phone = user.device()
    phone.insert("todos", FORMULA, {"title": "milk"})
    phone.sync()
    phone.update("todos", FORMULA, {"title": "bread"})
    phone.sync()
    assert user.space_id
    return user


def test_changes_of_rows_are_exported_with_old_and_new_values(audited: Process, user: User) -> None:
    done = run(audited, "export", "--realm", "full", "--user", str(user.space_id))
    assert done.returncode == 0, done.stderr
    update, insert = [json.loads(line) for line in done.stdout.splitlines()]
    assert (insert["action"], insert["old"], insert["new"]["title"]) == ("row.insert", None, "milk")
    assert (update["action"], update["old"]["title"], update["new"]["title"]) == ("row.update", "milk", "bread")
    assert (update["entity"], update["entity_id"], update["email"]) == ("row", f"todos/{FORMULA}", user.email)
    assert (update["device"], update["address"]) == (user.devices[0].client_id, "127.0.0.1")
    assert update["at"].endswith("Z")


def test_who_did_it_is_an_id_or_an_address(audited: Process, user: User) -> None:
    by_id, by_address = (
        run(audited, "export", "--realm", "full", "--user", who) for who in (str(user.space_id), user.email.upper())
    )
    assert by_id.stdout == by_address.stdout
    assert by_id.stdout
    nobody = run(audited, "list", "--realm", "full", "--user", "nobody@example.com")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr == "sync-server: There is no such user in this realm\n"


def test_a_spreadsheet_finds_no_formula(audited: Process, databases: dict[str, Database]) -> None:
    name = uuid4()
    actions = ("=1+1", "+1", "-1", "@SUM(1)", "\t=1")
    for action in actions:
        write(databases["main"], ADMIN, user=name, new={"name": 'with "quotes",\nand a line'}, old={"name": action})
    done = run(audited, "export", "--realm", "main", "--entity-id", str(name), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == len(actions)
    assert json.loads(rows[0]["new"]) == {"name": 'with "quotes",\nand a line'}
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in row.values())


@pytest.mark.parametrize("action", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1"])
def test_what_would_be_a_formula_is_quoted(audited: Process, databases: dict[str, Database], action: str) -> None:
    user = write(databases["main"], ADMIN)
    with tampering(databases["main"]) as database:
        change = "UPDATE sync.audit_lines SET request_id = %s WHERE entity_id = %s"
        database.connection.execute(change, [action, str(user)])
        done = run(audited, "export", "--realm", "main", "--entity-id", str(user), "--format", "csv")
        [row] = csv.DictReader(io.StringIO(done.stdout))
        assert row["request_id"] == f"'{action}"
        undo = "UPDATE sync.audit_lines SET request_id = %s WHERE entity_id = %s"
        database.connection.execute(undo, [ADMIN.request_id, str(user)])


def test_lines_are_shown_one_each(audited: Process, user: User) -> None:
    done = run(audited, "list", "--realm", "full", "--user", str(user.space_id), "--since", "2020-01-01")
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[1:3] for line in done.stdout.splitlines()] == [
        [user.email, f"rows.push {user.space_id}"]
    ] * 2
    assert run(audited, "list", "--realm", "full", "--until", "2020-01-01").stdout == ""


def test_only_what_changed_is_shown_as_it_was_written(audited: Process, databases: dict[str, Database]) -> None:
    user = write(databases["main"], ADMIN, old=None, new=None)
    write(databases["main"], ADMIN, user=user, old=None, new={"share": 12345678901234567890.0})
    done = run(audited, "list", "--realm", "main", "--entity-id", str(user))
    said = [line.partition(str(user))[2] for line in done.stdout.splitlines()]
    assert said == ['  {"new":{"share":1.2345678901234567e19}}', ""]


def test_a_date_that_is_none_is_refused(audited: Process) -> None:
    done = run(audited, "list", "--realm", "main", "--since", "yesterday")
    assert done.returncode == 2
    assert "neither a date nor a time" in done.stderr


def test_verifying_says_that_all_is_well_or_what_is_not(
    audited: Process, new_user: NewUser, databases: dict[str, Database], tmp_path: Path
) -> None:
    user = new_user("untouched")
    user.device().insert("todos", "1", {"title": "milk"})
    user.devices[0].sync()
    heads = tmp_path / "heads"
    well = run(audited, "verify", "--realm", "untouched", "--save-heads", str(heads))
    assert (well.returncode, well.stderr) == (0, "")
    assert "0 findings" in well.stdout
    assert str(user.space_id) in heads.read_text()
    assert run(audited, "verify", "--realm", "untouched", "--heads", str(heads)).returncode == 0
    with tampering(databases["untouched"]) as database:
        change = "UPDATE sync.audit_lines SET request_id = %s WHERE chain_id = %s AND number = 1 RETURNING request_id"
        [line] = database.select("SELECT request_id FROM sync.audit_lines WHERE chain_id = %s", user.space_id)[:1]
        database.connection.execute(change, ["x", user.space_id])
        wrong = run(audited, "verify", "--realm", "untouched")
        database.connection.execute(change, [line["request_id"], user.space_id])
    assert wrong.returncode == 1
    assert wrong.stderr == f"Realm untouched, chain space {user.space_id}, line 1: changed, or the line before it was\n"


def test_a_file_of_ends_that_is_none_is_one_line(audited: Process, tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("{}")
    done = run(audited, "verify", "--heads", str(tmp_path / "heads"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "save-heads" in done.stderr
