"""`check`: what is wrong, and how to mend it; `migrate`; and the texts that teach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mail.post_office import Loop, PostOffice
from postgres import PREPARED, as_role, database_of, superuser
from server.databases import count, role
from server.operating import Operator, config_with, free_port
from sync_server import migrations
from sync_server.embedded import EmbeddedPostgres

PASSWORD = "hidden-word"


@pytest.fixture
def post_office() -> Iterator[PostOffice]:
    with Loop() as loop:
        office = PostOffice(loop)
        office.open()
        yield office
        office.close()


def mail(office: PostOffice, **settings: Any) -> dict[str, Any]:
    return {"smtp": "127.0.0.1", "port": office.port, "security": "plain", "fromEmail": "sync@example.com", **settings}


BESIDE = "further servers of these realms need the same"


def test_all_is_well(operator: Operator, empty_url: str, post_office: PostOffice) -> None:
    migrations.migrate(empty_url)
    realm = {"url": empty_url, "registration": "closed"}
    config = config_with({"default": realm}, bcrypt_rounds=12, host="127.0.0.1")
    operator.write({**config, "email": mail(post_office)})
    done = operator.run("check")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "config.json: valid",
        f"Secrets: tokens are signed with what is in {operator.directory}/data/secrets.json: {BESIDE}",
        "Realm default: its database answers and is up to date",
        "Mail: 127.0.0.1 takes our mails",
        "All is well",
    ]
    assert post_office.received == []


def test_it_changes_nothing(operator: Operator, empty_url: str) -> None:
    operator.write(config_with({"default": empty_url}))
    done = operator.run("check")
    assert done.code == 0
    assert "Realm default: its database answers; 0001_initial" in done.out
    assert "will be applied when the server starts" in done.out
    assert count(empty_url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'sync'") == 0
    assert {path.name for path in operator.directory.iterdir()} == {"config.json"}


def test_several_problems_are_all_told(operator: Operator, empty_url: str) -> None:
    gone = empty_url.replace("operated_", "gone_", 1)
    closed = f"postgresql://user:{PASSWORD}@127.0.0.1:{free_port()}/db"
    nobody = as_role(empty_url, "nobody-at-all")
    email = {"smtp": "127.0.0.1", "port": free_port(), "username": "u", "password": PASSWORD, "templates": "no/such"}
    realms = {"good": empty_url, "gone": gone, "closed": closed, "nobody": nobody}
    operator.write({**config_with(realms), "email": email})
    done = operator.run("check")
    assert done.code == 1
    assert "Realm good: its database answers" in done.out
    assert done.out.endswith("5 problems found\n")
    told = done.err.splitlines()
    # PgBouncer goes on trying, and knows its own users
    not_there = "does not exist; make it with createdb, or check the URL" if PREPARED else "timeout expired"
    nobody_there = 'role "nobody-at-all" does not exist; check the user' if PREPARED else "no such user"
    expected = [
        ("Realm gone: its database cannot be reached: ", not_there),
        ("Realm closed: its database cannot be reached: ", "Connection refused; check host and port"),
        ("Realm nobody: its database cannot be reached: ", nobody_there),
        ("email.templates: ", "there is no such directory"),
        ("email: 127.0.0.1, port ", "check"),
    ]
    assert len(told) == len(expected)
    for line, (start, part) in zip(told, expected, strict=True):
        assert line.startswith(start)
        assert part in line
    assert PASSWORD not in done.out + done.err


def test_a_login_that_the_mail_server_refuses(operator: Operator, empty_url: str, post_office: PostOffice) -> None:
    post_office.login = ("user", "right")
    login = {"username": "user", "password": PASSWORD}
    operator.write({**config_with({"default": empty_url}), "email": mail(post_office, **login)})
    done = operator.run("check")
    assert done.code == 1
    assert done.err.startswith(f"email: 127.0.0.1, port {post_office.port}: ")
    assert done.err.count("\n") == 1
    assert PASSWORD not in done.out + done.err


def test_templates_that_are_broken(operator: Operator, empty_url: str) -> None:
    own = operator.directory / "templates" / "fr"
    own.mkdir(parents=True)
    for name, text in {"pin.subject.txt": "PIN", "pin.txt": "{{ pin", "pin.html": "<p>{{ pin }}</p>"}.items():
        (own / name).write_text(text)
    operator.write({**config_with({"default": empty_url}), "email": {"templates": "templates"}})
    done = operator.run("check")
    assert done.code == 1
    assert done.err.startswith("email.templates: ")
    assert "pin.txt" in done.err
    assert done.err.count("\n") == 1


@pytest.fixture
def with_passwords(own_postgres_only: EmbeddedPostgres, empty_url: str) -> Iterator[Callable[[str], str]]:
    """URLs of a user of a database that demands a password; the argument is the password."""
    hba = own_postgres_only.directory / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"local all needs_password scram-sha-256\nlocal all locked_out reject\n{before}")
    admin = superuser(own_postgres_only.url("postgres"))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
        role(empty_url, "needs_password")
        role(empty_url, "locked_out")
        connection.execute("ALTER ROLE needs_password PASSWORD 'right'")
        yield lambda password: empty_url.replace("sync_server@", f"needs_password{password}@", 1)
        hba.write_text(before)
        connection.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("password", "part"),
    [
        (
            f":{PASSWORD}",
            'password authentication failed for user "needs_password"; check user and password in the URL',
        ),
        ("", "no password supplied; put a password into the URL"),
    ],
    ids=["wrong", "none"],
)
def test_passwords_that_are_wrong(
    operator: Operator, with_passwords: Callable[[str], str], password: str, part: str
) -> None:
    operator.write(config_with({"default": with_passwords(password)}))
    for command in (["check"], ["migrate"], ["serve", "--port", "0"]):
        complaint = operator.run(*command).complaint
        assert part in complaint
        assert PASSWORD not in complaint


def test_a_server_that_does_not_let_one_in(
    operator: Operator, with_passwords: Callable[[str], str], empty_url: str
) -> None:
    assert with_passwords("")
    operator.write(config_with({"default": empty_url.replace("sync_server@", "locked_out@", 1)}))
    complaint = operator.run("check").complaint
    assert "pg_hba.conf rejects connection" in complaint
    assert "let this machine in in the server's pg_hba.conf" in complaint


def test_a_role_that_may_not_use_the_tables(operator: Operator, empty_url: str) -> None:
    migrations.migrate(empty_url)
    limited = role(empty_url, "reader", "GRANT USAGE ON SCHEMA sync", "GRANT SELECT ON ALL TABLES IN SCHEMA sync")
    operator.write(config_with({"default": limited}))
    complaint = operator.run("check").complaint
    assert "its role may not use sync." in complaint
    assert " sync.attempts, " in complaint
    assert "GRANT SELECT, INSERT, UPDATE, DELETE" in complaint


def test_a_database_that_takes_no_changes(operator: Operator, empty_url: str) -> None:
    with psycopg.connect(superuser(empty_url), autocommit=True) as connection:
        name = database_of(empty_url)
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
    operator.write(config_with({"default": empty_url}))
    assert "takes no changes" in operator.run("check").complaint
    assert "read-only transaction; the URL must lead to the primary" in operator.run("serve", "--port", "0").complaint


def test_a_changed_migration(operator: Operator, empty_url: str) -> None:
    migrations.migrate(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("UPDATE sync.migrations SET digest = 'other' WHERE version = 1")
    operator.write(config_with({"default": empty_url}))
    for command in (["check"], ["migrate"], ["serve", "--port", "0"]):
        assert "0001_initial differs from the file that was applied" in operator.run(*command).complaint


def test_migrate_one_realm(operator: Operator, new_database: Callable[[], str]) -> None:
    one, other = new_database(), new_database()
    operator.write(config_with({"one": one, "other": other}))
    done = operator.run("migrate", "--realm", "ONE")
    assert (done.code, done.out) == (0, "Realm one: up to date\n")
    assert '"migrated"' in done.err
    schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'sync'"
    assert (count(one, schema), count(other, schema)) == (1, 0)
    assert operator.run("migrate").out == "Realm one: up to date\nRealm other: up to date\n"
    assert count(other, schema) == 1


def test_migrate_a_realm_that_is_not_there(operator: Operator, empty_url: str) -> None:
    operator.write(config_with({"one": empty_url, "other": empty_url}))
    expected = "sync-server: config.json: There is no realm nine; there are: one, other"
    assert operator.run("migrate", "--realm", "nine").complaint == expected


def test_migrate_goes_on_behind_a_realm_that_is_down(operator: Operator, empty_url: str) -> None:
    operator.write(config_with({"down": f"postgresql://u:{PASSWORD}@127.0.0.1:{free_port()}/db", "up": empty_url}))
    done = operator.run("migrate")
    assert (done.code, done.out) == (1, "Realm up: up to date\n")
    assert "Realm down: its database cannot be reached: " in done.err
    assert PASSWORD not in done.err
    assert count(empty_url, "SELECT count(*) FROM sync.migrations WHERE version > 0") > 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--version"], [f"sync-server, version {version('sync-server')}\n"]),
        (["-h"], ["serve", "check", "migrate", "A realm is an app or a group of users"]),
        (["--help"], ["Sync server for apps built with sync_client"]),
        (["serve", "-h"], ["--host", "--port", "--workers", "PORT", "server.port", "SYNC_SERVER_CONFIG", "503"]),
        (["migrate", "-h"], ["--realm", "each migration is applied once"]),
        (["check", "-h"], ["how to mend it", "ends with 1", "beside a running server"]),
    ],
)
def test_texts_that_teach(operator: Operator, arguments: list[str], parts: list[str]) -> None:
    done = operator.run(*arguments)
    assert (done.code, done.err) == (0, "")
    told = " ".join(done.out.split())
    for part in parts:
        assert " ".join(part.split()) in told


def test_without_a_command_it_says_what_there_is(operator: Operator) -> None:
    done = operator.run()
    assert done.code == 2
    assert "migrate" in done.out + done.err
    assert not list(Path(operator.directory).iterdir())
