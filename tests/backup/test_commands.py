"""`sync-server backup`, `backup verify` and `restore`, as an operator runs them."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from backup.content import content, fill
from forking import COMMAND
from postgres import Postgres
from server.operating import Operator, config_with
from sync_server.backup import BackupError, files


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def test_a_realm_is_moved_by_its_file(operator: Operator, postgres: Postgres, database_url: str) -> None:
    moved = postgres.create_database("backup_moved")
    fill(database_url)
    operator.write(config_with({"todos": database_url, "moved": moved}))
    taken = operator.run("backup", "--realm", "Todos", "todos.backup", "--json")
    assert taken.code == 0, taken.err
    assert json.loads(taken.err)["rows"]["rows"] == 3
    path = operator.directory / "todos.backup"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    verified = operator.run("backup", "verify", "todos.backup", "--url", moved)
    assert verified.code == 0, verified.err
    assert "can be restored, and nothing is missing\n  rows 3, history 1" in verified.out
    restored = operator.run("restore", "--realm", "moved", "todos.backup")
    assert restored.code == 0, restored.err
    assert "restored into realm moved" in restored.out
    assert content(moved)["rows"] == content(database_url)["rows"]
    assert [line[4] for line in content(moved)["audit_lines"]] == ["realm.restore"]
    assert "the realm is not empty" in operator.run("restore", "--realm", "moved", "todos.backup").complaint
    assert "is there already" in operator.run("backup", "--realm", "todos", "todos.backup").complaint
    assert operator.run("backup", "take", "--realm", "todos", "--replace", "todos.backup").code == 0
    assert sorted(path.name for path in operator.directory.iterdir()) == ["config.json", "todos.backup"]


def test_a_realm_that_is_served_no_more_is_backed_up_with_the_configuration_as_it_was(
    operator: Operator, postgres: Postgres, database_url: str
) -> None:
    """docs/backup.md, moving: no device may write once the backup is taken, so the realm is taken out before."""
    fill(database_url)
    moved, other = (postgres.create_migrated(f"backup_away_{name}") for name in ("moved", "other"))
    path = operator.write(config_with({"todos": database_url, "other": other}))
    shutil.copy(path, path.with_name("moving.json"))
    assert operator.run("realm", "drop", "todos", "--keep-data").code == 0
    assert "no realm todos" in operator.run("backup", "--realm", "todos", "todos.backup").complaint
    assert operator.run("backup", "--config", "moving.json", "--realm", "todos", "todos.backup").code == 0
    operator.write(config_with({"todos": moved}))
    assert operator.run("restore", "--realm", "todos", "todos.backup").code == 0
    assert content(moved)["rows"] == content(database_url)["rows"]
    assert operator.run("realm", "drop", "--config", "moving.json", "todos", "--yes").code == 0
    assert content(moved)["rows"]


def test_a_restore_says_that_less_history_will_be_kept(
    operator: Operator, postgres: Postgres, database_url: str
) -> None:
    targets = [postgres.create_database(f"backup_history{number}") for number in range(3)]
    fill(database_url)
    full = {name: {"url": url, "history": "full"} for name, url in {"todos": database_url, "like": targets[0]}.items()}
    operator.write(config_with({**full, "less": targets[1], "more": {"url": targets[2], "history": "full"}}))
    assert operator.run("backup", "--realm", "todos", "full.backup").code == 0
    assert operator.run("restore", "--realm", "like", "full.backup").err == ""
    warned = operator.run("restore", "--realm", "less", "full.backup")
    assert warned.code == 0
    assert '"history": "full"' in warned.err
    operator.write(config_with({"less": targets[1], "more": {"url": targets[2], "history": "full"}}))
    assert operator.run("backup", "--realm", "less", "less.backup").code == 0
    assert operator.run("restore", "--realm", "more", "less.backup").err == ""


def test_a_backup_goes_through_pipes(operator: Operator, postgres: Postgres, database_url: str) -> None:
    fill(database_url)
    moved = postgres.create_database("backup_piped")
    operator.write(config_with({"todos": database_url, "moved": moved}))
    take = subprocess.Popen(
        [*COMMAND, "backup", "--realm", "todos", "-"], cwd=operator.directory, stdout=subprocess.PIPE
    )
    restore = [*COMMAND, "restore", "--realm", "moved", "-"]
    done = subprocess.run(
        restore, cwd=operator.directory, stdin=take.stdout, capture_output=True, text=True, check=False
    )
    assert take.stdout is not None
    take.stdout.close()
    assert take.wait() == done.returncode == 0, done.stderr
    assert content(moved)["rows"] == content(database_url)["rows"]


def test_what_is_wrong_is_one_line(operator: Operator, postgres: Postgres) -> None:
    empty = postgres.create_database("backup_nothing")
    operator.write(config_with({"todos": empty}))
    (operator.directory / "x").write_text("x")
    assert "no realm nowhere" in operator.run("backup", "--realm", "nowhere", "file").complaint
    assert "no tables of a sync-server" in operator.run("backup", "--realm", "todos", "file").complaint
    assert "damaged or incomplete" in operator.run("restore", "--realm", "todos", "x").complaint
    assert "No such file" in operator.run("restore", "--realm", "todos", "file").complaint
    assert {path.name for path in operator.directory.iterdir()} == {"config.json", "x"}


def broken_off(target: Path, *, replace: bool) -> None:
    with files.written(str(target), replace=replace) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("yesterday's")
    with pytest.raises(KeyboardInterrupt):
        broken_off(target, replace=True)
    with pytest.raises(BackupError, match="is there already"):
        broken_off(target, replace=False)
    assert target.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [target]
    with files.written(str(target), replace=True) as stream:
        stream.write(b"today's")
    assert target.read_text() == "today's"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.long
def test_a_backup_is_verified_in_a_database_of_its_own(operator: Operator, database_url: str) -> None:
    fill(database_url)
    operator.write(config_with({"todos": database_url}))
    assert operator.run("backup", "--realm", "todos", "file").code == 0
    temporary = operator.directory / "temporary"
    temporary.mkdir(mode=0o755)
    verified = operator.run("backup", "verify", "file", environment={"TMPDIR": str(temporary)})
    assert verified.code == 0, verified.err
    assert not list(temporary.iterdir())
