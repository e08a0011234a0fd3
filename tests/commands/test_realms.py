"""`sync-server realm`: list, add, check, drop."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import psycopg
import pytest

from backup.content import fill
from commands.conftest import Configured
from postgres import Postgres
from sync_server import migrations


def schemas(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT nspname FROM pg_namespace WHERE nspname IN ('sync', 'extra')"
        return {name for (name,) in connection.execute(query)}


def test_realms_are_listed_with_what_is_in_them(configured: Configured, database_url: str) -> None:
    fill(database_url)
    nowhere = "postgresql://ann:secret@127.0.0.1:1/nowhere"
    command = configured(todos=database_url, away=nowhere)
    [todos, away] = command.lines("realm", "list")
    assert (todos["realm"], todos["state"], todos["users"], todos["devices"], todos["rows"]) == (
        "todos",
        "answers",
        1,
        1,
        2,
    )
    assert (away["state"], away["users"], away["database"]) == ("down", None, "127.0.0.1/nowhere")
    said = command.run("realm", "list")
    assert "away\t127.0.0.1/nowhere\tsync\tdown\t-\t-\t-\t-\n" in said
    assert "secret" not in said


def test_on_a_terminal_it_is_a_table(configured: Configured, database_url: str) -> None:
    command = configured(todos=database_url)
    leader, follower = os.openpty()
    program = [sys.executable, "-m", "sync_server", "realm", "list", "--config", str(command.path)]
    try:
        subprocess.run(program, stdout=follower, env={**os.environ, "COLUMNS": "300", "TERM": "xterm"}, check=True)
        said = os.read(leader, 10_000).decode()
    finally:
        os.close(leader)
        os.close(follower)
    heading, line = (re.sub(r"\x1b\[[0-9;]*m", "", each).split() for each in said.splitlines() if each.strip())
    assert heading == ["realm", "database", "schema", "state", "users", "devices", "rows", "megabytes"]
    assert line[0] == "todos"
    assert line[2:7] == ["sync", "answers", "0", "0", "0"]


def test_a_realm_is_added_checked_and_dropped(configured: Configured, postgres: Postgres) -> None:
    url = postgres.create_database("commands_realms")
    command = configured(todos=url)
    before = command.path.read_text()
    command.run("realm", "add", "Extra", url, "--schema", "extra")
    assert json.loads(command.path.read_text())["db"]["realms"]["Extra"] == {"url": url, "schema": "extra"}
    assert schemas(url) == {"extra"}
    assert "is up to date" in command.run("realm", "check", "extra")
    assert "will be applied" in command.run("realm", "check", "todos")
    assert "there is a realm extra already" in command.complaint("realm", "add", "extra", url)
    command.refuses("realm", "drop", "extra")
    command.run("realm", "drop", "extra", "--yes")
    assert command.path.read_text() == before
    assert not schemas(url)
    assert "the only realm" in command.complaint("realm", "drop", "todos", "--yes")


def test_a_realm_whose_database_cannot_be_used_is_not_added(configured: Configured, database_url: str) -> None:
    command = configured(todos=database_url)
    before = command.path.read_text()
    said = command.complaint("realm", "add", "away", "postgresql://127.0.0.1:1/nowhere")
    assert "cannot be reached" in said
    assert command.path.read_text() == before
    assert "there is no realm away" in command.complaint("realm", "check", "away").lower()


def test_a_database_that_was_put_back_by_other_means_is_told_of(configured: Configured, database_url: str) -> None:
    fill(database_url)
    command = configured(todos=database_url)
    command.refuses("realm", "put-back", "todos")
    with psycopg.connect(database_url, autocommit=True) as connection:
        query = "SELECT s.restored, c.session, c.acknowledged FROM sync.spaces s, sync.clients c"
        assert connection.execute(query).fetchone() == (0, 7, 15)
        command.run("realm", "put-back", "todos", "--yes")
        [(restored, session, acknowledged)] = connection.execute(query).fetchall()
        lines = connection.execute("SELECT action, entity_id, via FROM sync.audit_lines").fetchall()
    assert lines == [("realm.put_back", "todos", "cli")]
    assert restored > 2**60
    assert session > 7
    assert acknowledged == 0


def test_data_that_another_realm_shares_is_not_removed(configured: Configured, database_url: str) -> None:
    command = configured(todos=database_url, same=database_url)
    assert "drop same with --keep-data" in command.complaint("realm", "drop", "same", "--yes")
    command.run("realm", "drop", "same", "--keep-data")
    assert [line["realm"] for line in command.lines("realm", "list")] == ["todos"]
    assert schemas(database_url) == {"sync"}


@pytest.mark.parametrize("yes", ["--yes", "--keep-data"])
def test_dropping_keeps_the_file_when_it_is_the_only_realm(configured: Configured, database_url: str, yes: str) -> None:
    command = configured(todos=database_url)
    assert "the only realm" in command.complaint("realm", "drop", "todos", yes)
    assert schemas(database_url) == {"sync"}
    assert migrations.migrate(database_url) == []
