"""INITIAL_EMAIL and INITIAL_PASSWORD at the first start."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from admin.people import data
from conftest import start_server
from postgres import realm_at
from sync_server.accounts import first_owner
from sync_server.config import Config, ConfigError, Database, Secret
from users import look_into

OWNER = {"INITIAL_EMAIL": "Olga@example.com", "INITIAL_PASSWORD": "the first secret"}


def test_the_first_start_makes_the_owner_and_a_later_one_changes_nothing(database_url: str, tmp_path: Path) -> None:
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"todos": database_url}}}
    process = start_server(tmp_path, config, environment=OWNER)
    body = {"realm": "todos", "email": "olga@example.com", "password": "the first secret"}
    answer = httpx.post(f"{process.url}/api/v1/auth/login", json=body)
    headers = {"Authorization": f"Bearer {data(answer)['access_token']}"}
    assert data(httpx.get(f"{process.url}/api/v1/auth/me", headers=headers))["role"] == "owner"
    assert process.stop() == 0
    assert "INITIAL_EMAIL has been made in realm todos" in "".join(process.printed)
    said = "".join(process.printed) + process.log
    assert "olga" not in said.lower()
    assert "the first secret" not in said


def settings(url: str) -> Config:
    return Config(Database({"todos": realm_at(url)}))


def test_there_is_a_first_owner_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for expected, email in [(True, "olga@example.com"), (False, "olga@example.com"), (False, "bob@example.com")]:
        monkeypatch.setenv("INITIAL_EMAIL", email)
        monkeypatch.setenv("INITIAL_PASSWORD", "the first secret")
        owner = first_owner.of_environment()
        assert owner is not None
        assert first_owner.make(settings(database_url), {"todos": database_url}, owner) is expected
    assert first_owner.of_environment() is None, "other programs inherit the environment"
    with look_into(database_url) as connection:
        assert connection.execute("SELECT email, role FROM sync.users").fetchall() == [
            {"email": "olga@example.com", "role": "owner"}
        ]
        lines = connection.execute("SELECT action, via FROM sync.audit_lines").fetchall()
        assert lines == [{"action": "owner.create", "via": "cli"}], "once"


def test_an_account_with_the_address_becomes_the_owner(database_url: str) -> None:
    """It may be of somebody who was faster: with their password they are out."""
    with look_into(database_url) as connection:
        identity = "00000000-0000-4000-8000-000000000001"
        connection.execute("INSERT INTO sync.spaces (id) VALUES (%s)", [identity])
        connection.execute(
            "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash, active)"
            " VALUES (%s, %s, 'Olga@example.com', 'olga@example.com', 'Olga', 'theirs', false)",
            [identity, identity],
        )
        owner = first_owner.FirstOwner("olga@example.com", Secret("the first secret"))
        assert first_owner.make(settings(database_url), {"todos": database_url}, owner)
        [found] = connection.execute("SELECT * FROM sync.users").fetchall()
    assert (found["role"], found["active"], found["token_epoch"]) == ("owner", True, 1)
    assert found["password_hash"].startswith("$2b$")


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [
        ("olga@example.com", "", "one is not set"),
        ("", "the first secret", "one is not set"),
        ("olga", "the first secret", "INITIAL_EMAIL is no email address"),
        ("olga@example.com", "short", "shorter than 8"),
    ],
)
def test_what_cannot_be_an_owner_is_said(
    monkeypatch: pytest.MonkeyPatch, email: str, password: str, reason: str
) -> None:
    monkeypatch.setenv("INITIAL_EMAIL", email)
    monkeypatch.setenv("INITIAL_PASSWORD", password)
    with pytest.raises(ConfigError, match=reason):
        first_owner.of_environment()
