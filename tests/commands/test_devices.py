"""`sync-server device`."""

from __future__ import annotations

import psycopg
import pytest

from backup.content import PHONE, fill
from commands.conftest import CommandLine, Configured

REALM = ("--realm", "default")


@pytest.fixture
def command(configured: Configured, database_url: str) -> CommandLine:
    fill(database_url)
    tablet = """
        INSERT INTO sync.clients (id, user_id, details, last_sync, refresh_id) SELECT %s, id, %s, %s, 'r' FROM sync.users
    """
    with psycopg.connect(database_url) as connection:
        now = connection.execute("SELECT (extract(epoch FROM now()) * 1000)::bigint").fetchall()[0][0]
        connection.execute(tablet, ["00" * 15 + "ff", '{"name": "Tab", "model": "X1"}', now - 5 * 86_400_000])
    return configured(default=database_url)


def test_devices_are_listed_with_what_troubles_them(command: CommandLine) -> None:
    phone, tablet = command.lines("device", "list", *REALM)
    assert phone["id"] == str(PHONE)
    assert phone["last_sync"] is None
    assert phone["kept_aside"] == 1
    assert phone["trouble"] == "unfinished"
    assert (tablet["name"], tablet["model"], tablet["user"], tablet["trouble"]) == ("Tab", "X1", "Ann@x", None)
    assert [line["name"] for line in command.lines("device", "list", *REALM, "--search", "x1")] == ["Tab"]
    assert len(command.lines("device", "list", *REALM, "--not-synced", "4")) == 2
    assert [line["id"] for line in command.lines("device", "list", *REALM, "--not-synced", "6")] == [str(PHONE)]
    assert len(command.lines("device", "list", *REALM, "--user", "ANN@x")) == 2
    assert [line["id"] for line in command.lines("device", "list", *REALM, "--troubled")] == [str(PHONE)]
    assert "\tTab\tX1\t20" in command.run("device", "list", *REALM)
    assert "no such user" in command.complaint("device", "list", *REALM, "--user", "bob@x")


def test_a_device_is_removed_when_that_is_confirmed(command: CommandLine, database_url: str) -> None:
    command.refuses("device", "remove", *REALM, str(PHONE))
    assert len(command.lines("device", "list", *REALM)) == 2
    command.run("device", "remove", *REALM, str(PHONE), stdin="y\n")
    assert [line["name"] for line in command.lines("device", "list", *REALM)] == ["Tab"]
    assert "no such" in command.complaint("device", "remove", *REALM, "--yes", str(PHONE)).lower()
    with psycopg.connect(database_url) as connection:
        line = connection.execute("SELECT action, entity_id, via FROM sync.audit_lines").fetchall()
        assert line == [("client.remove", str(PHONE), "cli")]
        assert connection.execute("SELECT count(*) FROM sync.rows").fetchone() == (3,)
