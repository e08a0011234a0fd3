"""Migrations: once each, whole or not at all, whoever else tries too."""

from __future__ import annotations

import json
import multiprocessing
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from postgres import PREPARED, Postgres, database_of, superuser
from server.calls import register
from server.databases import count, role
from server.operating import Operator, config_with, wait_for
from sync_server import migrations
from sync_server.migrations import Migration, MigrationError

NAMES = [migration.name for migration in migrations.available()]
MIGRATING = """
import json, sys
from sync_server.migrations import Migration, migrate
migrate(sys.argv[1], migrations=[Migration(*parts) for parts in json.loads(sys.argv[2])])
"""
ASLEEP = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
RECORDS = "SELECT count(*) FROM sync.migrations WHERE version > 0"
SLOW = [
    Migration(1, "0001_first", "CREATE TABLE sync.first (id integer)"),
    Migration(2, "0002_slow", "CREATE TABLE sync.second (id integer); SELECT pg_sleep(30)"),
]


class Listener:
    """Stands between a client and the server of `url`, and keeps what the client says."""

    def __init__(self, url: str) -> None:
        self._server = conninfo_to_dict(url)
        self._listening = socket.create_server(("127.0.0.1", 0))
        host, port = self._listening.getsockname()
        self.url = f"{url.partition('@')[0]}@{host}:{port}/{database_of(url)}?sslmode=disable&gssencmode=disable"
        self.heard = b""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = self._connect()
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._server["host"]), self._server.get("port") or 5432
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _pass(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.heard += data if keep else b""
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        source.close()


def test_each_file_has_a_number_of_its_own() -> None:
    versions = [migration.version for migration in migrations.available()]
    assert versions == sorted(set(versions))


def test_applies_each_once(empty_url: str) -> None:
    assert migrations.migrate(empty_url) == NAMES
    assert migrations.migrate(empty_url) == []
    assert count(empty_url, RECORDS) == len(NAMES)


def test_applies_what_is_new_only(empty_url: str) -> None:
    first, second = SLOW[0], Migration(2, "0002_more", "ALTER TABLE sync.first ADD COLUMN more text")
    assert migrations.migrate(empty_url, migrations=[first]) == ["0001_first"]
    assert migrations.migrate(empty_url, migrations=[first, second]) == ["0002_more"]
    assert migrations.migrate(empty_url, migrations=[first]) == []  # an older server beside a newer one


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_several_processes_at_once_apply_it_once(empty_url: str, isolation: str) -> None:
    with psycopg.connect(superuser(empty_url), autocommit=True) as connection:
        setting = f"SET default_transaction_isolation = '{isolation}'"
        connection.execute(f'ALTER DATABASE "{database_of(empty_url)}" {setting}'.encode())
    with multiprocessing.get_context("spawn").Pool(5) as pool:
        applied = pool.map(migrations.migrate, [empty_url] * 5, chunksize=1)
    assert sorted(applied, key=len) == [[]] * 4 + [NAMES]
    assert count(empty_url, RECORDS) == len(NAMES)


def test_a_table_that_another_process_is_just_making_is_waited_for(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as other, ThreadPoolExecutor() as pool:
        other.execute("CREATE SCHEMA sync")
        other.execute("CREATE TYPE sync.migrations AS ENUM ()")  # a table's type may be seen before the table is
        applied = pool.submit(migrations.migrate, empty_url)
        time.sleep(0.5)
        other.execute("DROP TYPE sync.migrations")
        assert applied.result() == NAMES


def test_several_servers_start_at_once_on_an_empty_database(operator: Operator, empty_url: str) -> None:
    operator.write(config_with({"default": empty_url}))
    servers = [operator.launch("--host", "127.0.0.1", "--port", "0") for _ in range(3)]
    for server in servers:
        server.until_it_listens()
    assert sum('"migrated"' in server.log for server in servers) == 1
    assert register(servers[0].url).status_code == 200
    assert count(empty_url, RECORDS) == len(NAMES)


def test_killed_in_the_middle_it_leaves_nothing_half_done(empty_url: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", MIGRATING, empty_url, json.dumps(SLOW)])
    wait_for(lambda: count(empty_url, f"SELECT count(*) {ASLEEP}") == 1)
    process.kill()
    process.wait()
    # as the database does when it notices, by and by
    assert count(empty_url, f"SELECT count(pg_terminate_backend(pid)) {ASLEEP}") == 1
    wait_for(lambda: count(empty_url, f"SELECT count(*) {ASLEEP}") == 0)
    assert count(empty_url, RECORDS) == 0
    assert count(empty_url, "SELECT count(*) FROM pg_class WHERE relname IN ('first', 'second')") == 0
    quick = [SLOW[0], Migration(2, "0002_quick", "CREATE TABLE sync.second (id integer)")]
    assert migrations.migrate(empty_url, migrations=quick) == ["0001_first", "0002_quick"]


def test_others_wait_for_a_slow_one_whatever_the_timeouts_of_their_role(empty_url: str) -> None:
    with psycopg.connect(superuser(empty_url), autocommit=True) as connection:
        for setting in ("statement_timeout = '1s'", "lock_timeout = '200ms'"):
            connection.execute(f'ALTER DATABASE "{database_of(empty_url)}" SET {setting}'.encode())
    slow = [Migration(1, "0001_slow", "SELECT pg_sleep(3)")]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        applying = pool.starmap_async(migrations.migrate, [(empty_url, "sync", slow)] * 3, chunksize=1)
        seen = set()
        while not applying.ready():
            seen.add(count(empty_url, f"SELECT count(*) {ASLEEP}"))
            time.sleep(0.02)
        assert sorted(applying.get(), key=len) == [[], [], ["0001_slow"]]
    assert seen == {0, 1}, "several applied it at the same time"


def test_nobody_waits_behind_it_for_a_table_that_is_in_use(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_UNTIL_NEXT", (0.2, 0.3))
    migrations.migrate(empty_url, migrations=SLOW[:1])
    wanted = [SLOW[0], Migration(2, "0002_more", "ALTER TABLE sync.first ADD COLUMN more text")]
    waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor() as pool, psycopg.connect(empty_url) as backup:
        backup.execute("SELECT 1 FROM sync.first")
        applying = pool.submit(migrations.migrate, empty_url, migrations=wanted)
        wait_for(lambda: count(empty_url, f"SELECT count(*) {waiting}") == 1)
        with psycopg.connect(empty_url) as device:
            device.execute("SET LOCAL statement_timeout = '10s'")  # a pooler takes no options
            device.execute("SELECT 1 FROM sync.first")  # comes behind it, and waits no longer than it does
        assert not applying.done()
        backup.rollback()
        assert applying.result(30) == ["0002_more"]


def test_a_failing_migration_says_so_and_leaves_nothing(empty_url: str) -> None:
    failing = [SLOW[0], Migration(2, "0002_wrong", "CREATE TABLE sync.second (id integer); SELECT 1/0")]
    with pytest.raises(MigrationError, match="0002_wrong: division by zero"):
        migrations.migrate(empty_url, migrations=failing)
    assert count(empty_url, RECORDS) == 0
    assert count(empty_url, "SELECT count(*) FROM pg_class WHERE relname = 'first'") == 0


def test_what_stands_in_the_way_is_named(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sync; CREATE TABLE sync.spaces (mine text)")
    with pytest.raises(MigrationError, match='relation "spaces" already exists'):
        migrations.migrate(empty_url)


@pytest.mark.parametrize("behind", [[], [Migration(2, "0002_more", "SELECT 1")]])
def test_a_changed_file_is_noticed(empty_url: str, behind: list[Migration]) -> None:
    """Also when nothing else is to be applied."""
    migrations.migrate(empty_url, migrations=SLOW[:1])
    changed = [Migration(1, "0001_first", "CREATE TABLE sync.first (id bigint)"), *behind]
    with pytest.raises(MigrationError, match="0001_first differs from the file that was applied to this database"):
        migrations.migrate(empty_url, migrations=changed)


def test_a_role_without_the_right_to_create_works_on_an_up_to_date_database(operator: Operator, empty_url: str) -> None:
    migrations.migrate(empty_url)
    limited = role(
        empty_url,
        "limited",
        "GRANT USAGE ON SCHEMA sync",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sync",
    )
    assert migrations.migrate(limited) == []
    running = operator.serve(config_with({"default": limited}))
    assert register(running.url).status_code == 200
    checked = operator.run("check")
    assert (checked.code, checked.err) == (0, "")


def test_a_role_without_the_right_to_create_is_told_what_to_do(operator: Operator, empty_url: str) -> None:
    operator.write(config_with({"default": role(empty_url, "limited")}))
    expected = "permission denied for database .*; GRANT CREATE ON DATABASE"
    assert re.search(expected, operator.run("serve", "--port", "0").complaint)
    assert re.search(expected, operator.run("migrate").complaint)
    assert "its role may not make the schema sync: GRANT CREATE ON DATABASE" in operator.run("check").complaint


def test_a_schema_that_an_administrator_made_is_enough(empty_url: str) -> None:
    """The role may create in its schema, and no schemas."""
    owner = role(empty_url, "limited")
    with psycopg.connect(superuser(empty_url), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sync AUTHORIZATION limited")
    assert migrations.migrate(owner) == NAMES


def test_realms_in_schemas_of_one_database_are_apart(operator: Operator, empty_url: str) -> None:
    todos, notes = {"url": empty_url, "schema": "todos"}, {"url": empty_url, "schema": "notes"}
    running = operator.serve(config_with({"todos": todos, "notes": notes}))
    assert register(running.url, "todos", 1).status_code == 200
    assert register(running.url, "notes", 2).status_code == 200
    assert register(running.url, "notes", 1).status_code == 200  # known to the other realm only
    assert count(empty_url, "SELECT count(*) FROM todos.users") == 1
    assert count(empty_url, "SELECT count(*) FROM notes.users") == 2
    assert count(empty_url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'sync'") == 0
    assert count(empty_url, "SELECT count(*) FROM todos.migrations WHERE version > 0") == len(NAMES)
    assert running.faults() == []


@pytest.mark.parametrize("schema", ["user", "select", "a" * 63, "_1"])
def test_schema_names_that_need_quoting(empty_url: str, schema: str) -> None:
    assert migrations.migrate(empty_url, schema) == NAMES
    assert migrations.migrate(empty_url, schema) == []


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_serves_under_another_default_isolation(operator: Operator, empty_url: str, isolation: str) -> None:
    with psycopg.connect(superuser(empty_url), autocommit=True) as connection:
        setting = f"SET default_transaction_isolation = '{isolation}'"
        connection.execute(f'ALTER DATABASE "{database_of(empty_url)}" {setting}'.encode())
    running = operator.serve(config_with({"default": empty_url}))
    for number in range(1, 4):
        assert register(running.url, number=number).status_code == 200
        assert register(running.url, number=number).status_code == 200
    assert running.faults() == []


@pytest.mark.parametrize("prepared", [True, False])
def test_prepared_statements_can_be_turned_off(operator: Operator, empty_url: str, prepared: bool) -> None:
    if prepared and not PREPARED:
        pytest.skip("the pooler under test knows no prepared statements")
    with Listener(empty_url) as listener:
        running = operator.serve(config_with({"default": {"url": listener.url, "prepared_statements": prepared}}))
        for number in range(1, 5):  # what comes again is prepared
            assert register(running.url, number=number).status_code == 200
        assert running.end() == 0
    assert b"INSERT INTO sync.users" in listener.heard
    assert (b"sync_0\0" in listener.heard) is prepared  # as statements.py names them
    assert b"_pg3_" not in listener.heard  # as psycopg would


def test_a_database_that_cannot_hold_unicode_is_refused(postgres: Postgres, operator: Operator) -> None:
    url = postgres.create_database("latin")
    name = database_of(url)
    with psycopg.connect(superuser(postgres.create_database("beside")), autocommit=True) as connection:
        owner = connection.execute(
            "SELECT datdba::regrole::text FROM pg_database WHERE datname = %s", [name]
        ).fetchone()
        assert owner
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
        encoding = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        builtin = connection.info.server_version >= 150000  # the provider may be chosen
        encoding += " LOCALE_PROVIDER libc" if builtin else ""
        connection.execute(f'CREATE DATABASE "{name}" OWNER {owner[0]} {encoding}'.encode())
    operator.write(config_with({"default": url}))
    for command in (["serve", "--port", "0"], ["migrate"], ["check"]):
        assert "encoding is LATIN1; make one with createdb --encoding=UTF8" in operator.run(*command).complaint


def test_it_waits_for_nobody_where_nothing_is_missing(empty_url: str) -> None:
    migrations.migrate(empty_url)
    with psycopg.connect(empty_url) as other:
        other.execute("SELECT 1 FROM sync.migrations FOR UPDATE")
        assert migrations.migrate(empty_url) == []


def test_every_schema_has_tables_of_its_own_only(empty_url: str) -> None:
    """The text of the migrations names no schema but its own, so that realms can share a database."""
    migrations.migrate(empty_url, "todos")
    query = "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r'"
    with psycopg.connect(empty_url) as connection:
        found = {name for (name,) in connection.execute(query.encode()).fetchall()}
    assert found - {"pg_catalog", "information_schema"} == {"todos"}


def test_the_directory_is_read_in_order(tmp_path: Path) -> None:
    for name in ("0010_c.sql", "0002_b.sql", "0001_a.sql", "notes.txt"):
        (tmp_path / name).write_text(name)
    found = migrations.available(tmp_path)
    assert found == [Migration(1, "0001_a", "0001_a.sql"), Migration(2, "0002_b", "0002_b.sql"), found[2]]
    assert found[2].version == 10
