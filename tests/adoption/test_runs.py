"""Runs of the adoption: without writing, again, at the same time, killed, without rights, as a command and at a start."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from adoption import old_tables
from adoption.conftest import Serve, adopt
from adoption.old_devices import old_device, pulled
from device import Unauthorized
from postgres import as_role, database_of, superuser
from sync_server import migrations
from sync_server.adoption import AdoptionError
from users import look_into
from wire import Wire

BIG = """
INSERT INTO public.users SELECT md5('u' || u)::uuid, 'User', 'user' || u || '@example.com', repeat('0', 128), 'salt', 'en'
FROM generate_series(1, 60) u;
INSERT INTO public.user_clients (clientid, userid, lastsync)
SELECT md5('c' || u)::uuid, md5('u' || u)::uuid, 1700000900000 FROM generate_series(1, 60) u;
INSERT INTO public.data SELECT md5('r' || r)::uuid, '{"n": 1}' FROM generate_series(1, 30000) r;
INSERT INTO public.sync_data (userid, clientid, tablename, rowguid, operation, clientdate, serverdate)
SELECT md5('u' || 1 + r % 60)::uuid, md5('c' || 1 + r % 60)::uuid, 'notes', md5('r' || r)::uuid, 'I',
    1700000000000, 1700000000000 + r
FROM generate_series(1, 30000) r;
ANALYZE;
"""


def rows_of(url: str) -> list[Any]:
    """All that was taken over."""
    with psycopg.connect(url) as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT r.* FROM sync.rows r ORDER BY space_id, tablename, rowguid",
                "SELECT id, clock FROM sync.spaces ORDER BY id",
                "SELECT id, email_key, password_hash, token_epoch FROM sync.users ORDER BY id",
                "SELECT id, user_id, first_stamp, last_sync FROM sync.clients ORDER BY id",
                "SELECT user_id, kind, client_id, tablename, rowguid FROM sync.adoption_findings ORDER BY 1, 2, 3, 4, 5",
            )
        ]


def schemas(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_catalog.pg_namespace")}


def test_a_dry_run_says_the_same_and_writes_nothing(old_database: str) -> None:
    before = old_tables.contents(old_database)
    tried = adopt(old_database, dry_run=True)
    assert "sync" not in schemas(old_database)
    done = adopt(old_database)
    assert (tried.done, tried.not_taken_over, tried.findings) == (done.done, done.not_taken_over, done.findings)
    assert done.not_taken_over == {
        "address_differs_in_case": 1,
        "content_of_another_table": 1,
        "content_of_another_user": 1,
        "no_content": 1,
    }
    assert old_tables.contents(old_database) == before


def test_a_dry_run_beside_what_was_taken_over_changes_nothing(old_database: str) -> None:
    adopt(old_database)
    before = rows_of(old_database)
    with psycopg.connect(old_database, autocommit=True) as connection:
        connection.execute("UPDATE public.user_clients SET lastsync = lastsync + 1")
    assert adopt(old_database, dry_run=True).done.accounts == 4
    assert rows_of(old_database) == before


def test_a_second_run_finds_nothing_new(old_database: str) -> None:
    adopt(old_database)
    before = rows_of(old_database)
    assert adopt(old_database).done.accounts == 0
    assert rows_of(old_database) == before


def test_runs_at_the_same_time_do_it_once(new_database: Callable[[], str]) -> None:
    url, alone = new_database(), new_database()
    for database in (url, alone):
        old_tables.load(database)
    with ThreadPoolExecutor(3) as pool:
        for report in pool.map(lambda _: adopt(url), range(3)):
            assert report.adopted_accounts == 4
    adopt(alone)
    assert rows_of(url) == rows_of(alone) or [len(part) for part in rows_of(url)] == [
        len(part) for part in rows_of(alone)
    ]


class InStep:
    """Has several runs begin and end their work at the same time."""

    def __init__(self, runs: int) -> None:
        self._all_there = threading.Barrier(runs, timeout=60)

    def begin(self, _: int) -> None:
        self._all_there.wait()

    def advance(self, _: int) -> None:
        self._all_there.wait()


def test_runs_that_end_at_the_same_time_wait_for_each_other(new_database: Callable[[], str]) -> None:
    url, progress = new_database(), InStep(4)
    old_tables.load(url)
    with ThreadPoolExecutor(4) as pool:
        for report in pool.map(lambda _: adopt(url, progress), range(4)):
            assert report.adopted_accounts == 4


def command(directory: Path, url: str, *arguments: str) -> list[str]:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"db": {"realms": {"main": url}}}))
    config = str(directory / "config.json")
    return [sys.executable, "-m", "sync_server", "adopt", "--realm", "Main", "--config", config, *arguments]


def test_a_killed_run_is_gone_on_with(new_database: Callable[[], str], tmp_path: Path) -> None:
    url = new_database()
    old_tables.make(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(BIG.encode())
    migrations.migrate(url)
    running = subprocess.Popen(command(tmp_path / "a", url), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with look_into(url) as connection:
        while not connection.execute("SELECT 1 FROM sync.users").fetchone():
            assert running.poll() is None, "it was done before it could be killed"
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        (unfinished,) = connection.execute("SELECT finished_at FROM sync.adoptions").fetchall()
        assert unfinished["finished_at"] is None
        (users,) = connection.execute("SELECT count(*) AS number FROM sync.users").fetchall()
        assert users["number"] < 60
    assert adopt(url).adopted_accounts == 60
    with look_into(url) as connection:
        (rows,) = connection.execute("SELECT count(*) AS number, sum(stamp - 1700000000000) AS stamps FROM sync.rows")
        assert rows == {"number": 30_000, "stamps": sum(range(30_001))}
        assert connection.execute("SELECT 1 FROM sync.adoptions WHERE finished_at IS NULL").fetchall() == []


def test_a_run_gets_on_beside_devices_that_sync_all_the_time(new_database: Callable[[], str]) -> None:
    url = new_database()
    old_tables.make(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(BIG.replace("30000", "600").encode())
        adopt(url)
        connection.execute("UPDATE public.user_clients SET lastsync = lastsync + 1")
    stop = threading.Event()

    def syncs() -> None:
        """One device after the other is in the middle of a call, so that one of them always is."""
        begin = "UPDATE sync.clients SET sync_number = sync_number + 1 WHERE id = md5('c' || %s::int)::uuid"
        with psycopg.connect(url) as connection:
            for turn in itertools.count():
                connection.execute(begin, [1 + turn % 60])
                if stop.wait(0.02):
                    return
                connection.commit()

    with ThreadPoolExecutor(1) as pool:
        syncing = pool.submit(syncs)
        try:
            assert adopt(url, dry_run=True).done.accounts == 60
            assert adopt(url).done.accounts == 60
        finally:
            stop.set()
        syncing.result()


def test_the_command_says_what_it_did(old_database: str, tmp_path: Path) -> None:
    ran = subprocess.run(command(tmp_path / "a", old_database, "--dry-run"), capture_output=True, text=True, check=True)
    assert "would take over" in ran.stdout
    assert "4 accounts, 6 clients, 86 rows, 7 deletes" in ran.stdout
    assert "user 075c4a2b-1984-40ed-8bb0-0a753fb23023" in ran.stdout
    assert "example.com" not in (ran.stdout + ran.stderr).lower()
    ran = subprocess.run(command(tmp_path / "a", old_database, "--json"), capture_output=True, text=True, check=True)
    report = json.loads(ran.stdout)
    assert report["done"]["rows"] == 86
    assert len(report["findings"]) == 4
    with look_into(old_database) as connection:
        (kept,) = connection.execute("SELECT report FROM sync.adoptions").fetchall()
    assert json.loads(kept["report"]) == report


def test_a_database_without_old_tables_is_told(new_database: Callable[[], str], tmp_path: Path) -> None:
    ran = subprocess.run(command(tmp_path / "a", new_database()), capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "has no tables of sync_server_ts" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE public.users DROP COLUMN salt", "public.users is not as sync_server_ts makes it: no column salt"),
        (
            "ALTER TABLE public.users ALTER COLUMN id TYPE text",
            "public.users.id is of type text; only uuid can be taken over",
        ),
    ],
)
def test_tables_of_another_kind_are_told(old_database: str, change: str, told: str) -> None:
    with psycopg.connect(old_database, autocommit=True) as connection:
        connection.execute(change.encode())
    with pytest.raises(AdoptionError, match=told):
        adopt(old_database)


def test_columns_and_tables_that_are_not_needed_may_be_missing(old_database: str) -> None:
    with psycopg.connect(old_database, autocommit=True) as connection:
        connection.execute("DROP TABLE public.user_tokens, public.users_pin")
        connection.execute("ALTER TABLE public.users DROP COLUMN name, DROP COLUMN language, ADD COLUMN more text")
        connection.execute("ALTER TABLE public.user_clients DROP COLUMN clientdetails, DROP COLUMN syncing")
    assert adopt(old_database).done.rows == 86


def stranger_to(url: str) -> str:
    """The URL for a role that may make a schema, and may not read the old tables."""
    name = f"stranger_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(superuser(url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'tests'").format(sql.Identifier(name)))
        connection.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(database_of(url)), sql.Identifier(name))
        )
    return as_role(url, name)


def test_a_start_that_may_not_read_the_old_tables_does_not_serve_without_them(
    old_database: str, new_database: Callable[[], str], serve: Serve
) -> None:
    stranger = stranger_to(old_database)
    process = serve({"main": {"url": stranger}, "other": new_database()})
    said = process.log
    assert "GRANT SELECT ON public.data, public.sync_data, public.user_clients, public.users TO it" in said
    wire = Wire(process.url)
    device = old_device("bea", wire.send, "main")
    with pytest.raises(Exception, match="503"):
        device.sync()
    wire.close()


def test_a_realm_may_leave_the_old_tables_alone(old_database: str, serve: Serve) -> None:
    process = serve({"main": {"url": old_database, "adopt": False}})
    with look_into(old_database) as connection:
        assert connection.execute("SELECT 1 FROM sync.users").fetchall() == []
    assert '"adopt' not in process.log


def test_a_start_goes_on_with_a_killed_run_and_leaves_a_finished_one(old_database: str, serve: Serve) -> None:
    adopt(old_database)
    with look_into(old_database) as connection:
        connection.execute("DELETE FROM sync.users WHERE email = 'bea@example.com'")
        connection.execute("UPDATE sync.adopted_users SET outcome = 'new' WHERE email_key = 'bea@example.com'")
        connection.execute("DELETE FROM sync.adopted_clients")
        serve({"main": old_database}).stop()
        assert connection.execute("SELECT 1 FROM sync.users WHERE email = 'bea@example.com'").fetchall() == []
        connection.execute("UPDATE sync.adoptions SET finished_at = NULL")
        process = serve({"main": old_database})
        assert connection.execute("SELECT 1 FROM sync.users WHERE email = 'bea@example.com'").fetchall() != []
    wire = Wire(process.url)
    device = old_device("bea", wire.send, "main")
    device.sync()
    assert pulled(device) == {}
    wire.close()


def test_servers_that_start_together_take_over_once(old_database: str, serve: Serve) -> None:
    with ThreadPoolExecutor(2) as pool:
        processes = list(pool.map(lambda _: serve({"main": old_database}), range(2)))
    for process in processes:
        wire = Wire(process.url)
        device = old_device("bea2", wire.send, "main")
        device.sync()
        assert set(pulled(device).values()) == {"I"}
        wire.close()


def test_two_schemas_of_one_database_do_not_both_take_it(old_database: str, serve: Serve) -> None:
    process = serve({"main": old_database, "second": {"url": old_database, "schema": "second"}})
    wire = Wire(process.url)
    old_device("bea", wire.send, "main").login()
    with pytest.raises(Unauthorized):
        old_device("bea", wire.send, "second").login()
    wire.close()


def test_a_terminal_shows_a_bar(old_database: str, tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    arguments = command(tmp_path / "a", old_database)
    with subprocess.Popen(arguments, stderr=inside, stdout=subprocess.PIPE) as running:
        os.close(inside)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(terminal, 4096):
                shown += part
        assert running.stdout is not None
        assert b"86 rows" in running.stdout.read()
    os.close(terminal)
    assert running.returncode == 0
    assert b"Taking over" in shown
    assert b"152/152" in shown
