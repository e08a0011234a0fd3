"""A new version beside the one before it: whichever of them made the newest schema, both serve it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import forking
from conftest import start_server
from instances.fleet import configuration
from postgres import Postgres
from sync_server import migrations
from sync_server.migrations import Migration
from users import User, look_into, sync_all
from wire import Wire

ADDED = [
    r"CREATE TABLE sync\.\w+ \(.*\)",
    r"CREATE INDEX \w+ ON sync\.\w+ .*",
    r"INSERT INTO sync\.\w+ .*",
    # what servers of the version before insert must not lack it
    r"ALTER TABLE sync\.\w+ ADD COLUMN \w+ (?!.*\b(UNIQUE|CHECK|REFERENCES|PRIMARY|NOT NULL)\b).*",
    r"ALTER TABLE sync\.\w+ ADD COLUMN \w+ (?!.*\b(UNIQUE|CHECK|REFERENCES|PRIMARY)\b).* NOT NULL DEFAULT .*",
]
"""What a migration may say: servers of the version before run on while it is applied and afterwards."""


def statements(text: str) -> list[str]:
    """On a line each, without comments."""
    bare = re.sub(r"--[^\n]*", "", text)
    return [" ".join(statement.split()) for statement in bare.split(";") if statement.strip()]


def breaking(text: str) -> list[str]:
    return [each for each in statements(text) if not any(re.fullmatch(form, each) for form in ADDED)]


@pytest.mark.parametrize("migration", migrations.available()[1:], ids=lambda migration: migration.name)
def test_a_migration_only_adds(migration: Migration) -> None:
    """To take something away, stop using it in one version, and drop it in a later one: then say so here, by its name."""
    assert breaking(migration.text) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE sync.pins",
        "ALTER TABLE sync.rows DROP COLUMN rank",
        "ALTER TABLE sync.rows RENAME COLUMN rank TO place",
        "ALTER TABLE sync.rows ALTER COLUMN ordinal TYPE bigint",
        "ALTER TABLE sync.rows ALTER COLUMN row_data SET NOT NULL",
        "ALTER TABLE sync.rows ADD COLUMN size bigint NOT NULL",
        "ALTER TABLE sync.rows ADD COLUMN size bigint UNIQUE",
        "ALTER TABLE sync.rows ADD CONSTRAINT c CHECK (rank > 0)",
        "CREATE UNIQUE INDEX names ON sync.users (name)",
        "UPDATE sync.users SET email_key = upper(email)",
        "DELETE FROM sync.attempts",
        "TRUNCATE sync.attempts",
    ],
)
def test_what_would_break_the_version_before_is_found(statement: str) -> None:
    assert breaking(f"CREATE TABLE sync.new (id uuid); -- new\n{statement};") == [statement]


def future(connection: psycopg.Connection[tuple[str]]) -> list[Migration]:
    """All that a later version may do to the tables there are, and the migrations that are known."""
    found = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'sync' AND tablename <> 'migrations'"
    )
    text = "CREATE TABLE sync.later (id uuid PRIMARY KEY);"
    for (table,) in found.fetchall():
        text += f"ALTER TABLE sync.{table} ADD COLUMN later text;"
        text += f"ALTER TABLE sync.{table} ADD COLUMN much_later bigint NOT NULL DEFAULT 0;"
    assert breaking(text) == []
    return [*migrations.available(), Migration(9000, "9000_later", text)]


def test_a_server_serves_a_database_that_a_later_version_has_migrated(postgres: Postgres, tmp_path: Path) -> None:
    """One that was running, and one that starts afterwards."""
    url = postgres.create_database("instances_of_versions")
    config = configuration(url)
    running = start_server(tmp_path / "running", config)
    try_it(url, Wire(running.url))
    with psycopg.connect(url) as connection:
        wanted = future(connection)
    assert migrations.migrate(url, migrations=wanted) == ["9000_later"]
    try_it(url, Wire(running.url))
    started = start_server(tmp_path / "started", config)
    try_it(url, Wire(started.url))
    checked = forking.run(["check"], tmp_path / "started")
    assert checked.returncode == 0, checked.stderr
    for process in (running, started):
        assert process.stop() == 0
        assert [line for line in process.log.splitlines() if not re.search(r'"level": ?"info"', line)] == []


def try_it(url: str, wire: Wire) -> None:
    """All that devices do: accounts, syncs with conflicts and deletes, a PIN, and leaving."""
    with look_into(url) as connection:
        user = User(wire.send, "main", connection)
        phone, tablet = user.device(), user.device()
        phone.insert("todos", "1", {"title": "x"})
        phone.insert("todos", "2", {"title": "x"})
        sync_all(phone, tablet)
        edits: list[Callable[[], None]] = [
            lambda: phone.update("todos", "1", {"title": "phone"}),
            lambda: tablet.update("todos", "1", {"title": "tablet"}),
            lambda: tablet.delete("todos", "2"),
        ]
        for edit in edits:
            edit()
        sync_all(phone, tablet)
        assert phone.state.rows == tablet.state.rows
        assert len(phone.state.rows) == 1
        assert len(user.overridden()) == 1
        phone.forgotten_password(user.email)
        tablet.unregister()
        phone.unregister(delete_remote_data=True)
    wire.close()
