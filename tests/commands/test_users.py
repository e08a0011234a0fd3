"""`sync-server user` and `owner`: the rules of the admin API, without a server."""

from __future__ import annotations

import psycopg
import pytest

from commands.conftest import CommandLine, Configured
from postgres import Postgres


@pytest.fixture
def command(configured: Configured, database_url: str) -> CommandLine:
    return configured(default=database_url, other=database_url)


def audited(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        query = "SELECT action, via FROM sync.audit_lines ORDER BY number"
        return [(action, via) for action, via in connection.execute(query)]


def test_a_user_is_made_changed_listed_and_removed(command: CommandLine, database_url: str) -> None:
    realm = ("--realm", "Default")
    command.run("user", "create", *realm, "--name", "Bob", "Bob@x.org", stdin="correct horse\n")
    command.run("user", "create", *realm, "--role", "viewer", "--invite", "vera@x.org")
    [bob, vera] = command.lines("user", "list", *realm)
    assert (bob["email"], bob["name"], bob["role"], bob["active"], bob["devices"]) == (
        "Bob@x.org",
        "Bob",
        "user",
        True,
        0,
    )
    assert vera["role"] == "viewer"
    assert "email_key" not in bob
    assert command.run("user", "list", *realm, "--search", "VERA").startswith("vera@x.org\t\tviewer\tyes\t0\t-\t2")
    changed = command.run("user", "set", *realm, "--role", "admin", "--locked", "--sign-out", "bob@X.org")
    assert changed == "bob@X.org: role: admin, active: no, signed out: yes\n"
    assert command.run("user", "set", *realm, "--role", "admin", "bob@x.org") == "bob@x.org: nothing to change\n"
    assert [user["email"] for user in command.lines("user", "list", *realm, "--locked")] == ["Bob@x.org"]
    assert [user["email"] for user in command.lines("user", "list", *realm, "--role", "viewer")] == ["vera@x.org"]
    command.refuses("user", "delete", *realm, "bob@x.org")
    command.refuses("user", "delete", *realm, "bob@x.org", stdin="n\n")
    assert len(command.lines("user", "list", *realm)) == 2
    command.run("user", "delete", *realm, "--yes", "bob@x.org")
    assert [user["email"] for user in command.lines("user", "list", *realm)] == ["vera@x.org"]
    done = ["user.create", "user.create", "user.update", "user.sign_out", "user.delete"]
    assert audited(database_url) == [(action, "cli") for action in done]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM sync.mails WHERE template = 'invitation'").fetchone() == (1,)


def test_a_long_list_is_whole(command: CommandLine, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO sync.spaces SELECT md5(i::text)::uuid FROM generate_series(1, 2001) i")
        user = """
            INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
            SELECT id, id, id, id, '', '' FROM (SELECT id, id::text AS email FROM sync.spaces) s (id, email)
        """
        connection.execute(user.replace("id, id, id, id", "id, id, email, email"))
    listed = [user["email"] for user in command.lines("user", "list", "--realm", "default")]
    assert len(listed) == 2001
    assert listed == sorted(set(listed))


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("user", "create", "--realm", "default", "nobody"), "long enough\n", "Expected an email address"),
        (("user", "create", "--realm", "default", "bob@x.org"), "short\n", "8 characters or more"),
        (("user", "create", "--realm", "nowhere", "bob@x.org"), "long enough\n", "There is no realm nowhere"),
        (("user", "create", "--realm", "other", "--role", "owner", "b@x.org"), "long enough\n", "of the realm default"),
        (("user", "set", "--realm", "default", "--locked", "nobody@x.org"), "", "o such user"),
        (("user", "delete", "--realm", "default", "--yes", "nobody@x.org"), "", "o such user"),
        (("owner", "create", "nobody"), "long enough\n", "Expected an email address"),
    ],
)
def test_what_cannot_be_done_is_said(command: CommandLine, arguments: tuple[str, ...], stdin: str, said: str) -> None:
    assert said in command.complaint(*arguments, stdin=stdin)
    assert command.lines("user", "list", "--realm", "default") == []


def test_the_first_owner_is_made_before_any_server_ran(configured: Configured, postgres: Postgres) -> None:
    url = postgres.create_database("commands_owner")
    command = configured(default=url)
    said = command.run("owner", "create", "--name", "Olga", "olga@x.org", stdin="correct horse\n")
    assert said.endswith("olga@x.org is an owner, in realm default\n")
    [olga] = command.lines("user", "list", "--realm", "default")
    assert (olga["name"], olga["role"]) == ("Olga", "owner")
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO sync.totp (user_id, nonce) SELECT id, 'n' FROM sync.users")
    said = command.run("user", "set", "--realm", "default", "--remove-second-factor", "olga@x.org")
    assert said == "olga@x.org: second factor: no\n"
    with psycopg.connect(url) as connection:
        assert not connection.execute("SELECT 1 FROM sync.totp").fetchall()
    command.run("user", "set", "--realm", "default", "--role", "user", "--locked", "olga@x.org")
    command.run("owner", "create", "olga@x.org", stdin="another password\n")
    [olga] = command.lines("user", "list", "--realm", "default")
    assert (olga["role"], olga["active"]) == ("owner", True)
    assert audited(url)[0] == ("owner.create", "cli")


@pytest.mark.parametrize("goes", [("set", "--role", "user"), ("set", "--locked"), ("delete", "--yes")])
def test_whoever_removes_the_last_owner_is_told(command: CommandLine, goes: tuple[str, ...]) -> None:
    action, *options = goes
    for email in ("olga@x.org", "omar@x.org"):
        command.run("owner", "create", email, stdin="correct horse\n")
    assert "no owner" not in command.warning("user", action, "--realm", "default", *options, "omar@x.org")
    assert "no owner" not in command.warning("user", "set", "--realm", "default", "--name", "Olga", "olga@x.org")
    said = command.warning("user", action, "--realm", "default", *options, "olga@x.org")
    assert said.endswith("no owner is left: sync-server owner create makes one\n")
