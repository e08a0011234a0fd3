"""A server with its embedded PostgreSQL: whatever is killed, nothing is lost and nothing stays behind."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from server.calls import log_in, register
from server.operating import ALSO_TWO, Operator, config_with, free_port, wait_for
from server.raw import Raw
from sync_server import migrations

EMBEDDED = config_with({"default": "embedded"})
SOON = 60.0
LISTEN = ("--host", "127.0.0.1", "--port", "0")


def postmaster(operator: Operator) -> int:
    (pid,) = operator.postmasters()
    return pid


def test_starts_from_nothing_and_keeps_its_data(operator: Operator) -> None:
    running = operator.serve(EMBEDDED)
    assert "  realm default (embedded PostgreSQL)\n" in wait_for(lambda: running.out if "outbox" in running.out else "")
    assert register(running.url).status_code == 200
    pid = postmaster(operator)
    assert running.end() == 0
    assert operator.postmasters() == []
    again = operator.launch(*LISTEN).until_it_listens()
    assert postmaster(operator) != pid
    assert log_in(again.url)
    assert again.end(signal.SIGINT) == 0
    assert operator.postmasters() == []


def test_a_killed_postgres_is_started_again_by_its_server(operator: Operator) -> None:
    running = operator.has_cluster().serve(EMBEDDED)
    assert register(running.url).status_code == 200
    pid = postmaster(operator)
    os.kill(pid, signal.SIGKILL)
    statuses = set()
    number = 1
    deadline = time.monotonic() + SOON
    while (status := register(running.url, number=(number := number + 1)).status_code) != 200 or running_on(
        operator, pid
    ):
        statuses.add(status)
        assert time.monotonic() < deadline
    assert statuses <= {200, 503}
    assert postmaster(operator) != pid
    assert log_in(running.url)
    assert '"embedded_postgres_died"' in running.log
    assert running.faults() == []
    assert running.end() == 0
    assert operator.postmasters() == []


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def running_on(operator: Operator, pid: int) -> bool:
    """Whether the killed PostgreSQL is still the one that the directory knows of."""
    return operator.postmasters() in ([], [pid])


@ALSO_TWO
def test_the_next_start_takes_over_what_a_killed_server_left(operator: Operator, workers: str) -> None:
    running = operator.has_cluster().serve(EMBEDDED, "--workers", workers)
    assert register(running.url).status_code == 200
    pid = postmaster(operator)
    running.kill()
    assert postmaster(operator) == pid
    wait_for(lambda: is_free(running.port))  # its workers end by themselves when they see that nobody is there
    again = operator.launch("--host", "127.0.0.1", "--port", str(running.port)).until_it_listens()
    assert postmaster(operator) == pid
    assert log_in(again.url)
    assert '"embedded_postgres_adopted"' in again.log
    assert again.end() == 0
    assert operator.postmasters() == []


def test_a_second_server_on_the_same_data_is_refused_and_does_no_harm(operator: Operator) -> None:
    running = operator.has_cluster().serve(EMBEDDED)
    pid = postmaster(operator)
    complaint = operator.run("serve", *LISTEN).complaint
    assert f"Another sync-server (process {running.pid}) uses the embedded PostgreSQL in" in complaint
    assert "data directory of its own" in complaint
    assert postmaster(operator) == pid
    assert register(running.url).status_code == 200


def test_a_taken_port_leaves_nothing_behind(operator: Operator) -> None:
    operator.write(EMBEDDED)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        complaint = operator.run("serve", "--host", "127.0.0.1", "--port", port).complaint
    assert complaint.startswith(f"sync-server: Cannot listen on 127.0.0.1 port {port}: Address already in use; ")
    assert "--port" in complaint
    assert operator.postmasters() == []
    assert not (operator.directory / "data" / "postgres").exists()


def test_migrate_and_check_beside_a_running_server(operator: Operator) -> None:
    running = operator.has_cluster().serve(EMBEDDED)
    assert register(running.url).status_code == 200
    pid = postmaster(operator)
    migrated = operator.run("migrate")
    assert (migrated.code, migrated.out, migrated.err) == (0, "Realm default: up to date\n", "")
    checked = operator.run("check")
    assert (checked.code, checked.err) == (0, "")
    assert "Realm default: its database answers and is up to date\n" in checked.out
    assert postmaster(operator) == pid
    assert log_in(running.url)
    assert running.end() == 0


def test_migrate_and_check_alone_start_it_and_stop_it(operator: Operator) -> None:
    operator.write(EMBEDDED)
    checked = operator.run("check")
    assert checked.code == 0
    assert "Realm default: its database answers; 0001_initial" in checked.out
    assert operator.postmasters() == []
    assert operator.run("migrate").out.endswith("Realm default: up to date\n")
    assert operator.postmasters() == []
    assert "is up to date" in operator.run("check").out


@pytest.mark.parametrize(
    ("moment", "number"),
    [("data/postgres.lock", signal.SIGTERM), ("data/postgres/postmaster.pid", signal.SIGINT)],
)
def test_a_signal_while_it_starts(operator: Operator, moment: str, number: int) -> None:
    operator.write(EMBEDDED)
    running = operator.launch(*LISTEN)
    wait_for((operator.directory / moment).exists)
    assert running.end(number) == 0
    assert running.out in ("sync-server was told to end while it started\n", "") or "has ended" in running.out
    assert running.log.count("Traceback") == 0
    wait_for(lambda: not operator.postmasters())
    again = operator.serve(EMBEDDED)
    assert register(again.url).status_code == 200


def test_a_signal_while_it_waits_for_a_migration(operator: Operator, empty_url: str) -> None:
    migrations.migrate(empty_url)
    with psycopg.connect(empty_url) as other:
        other.execute("DELETE FROM sync.migrations WHERE version = 1")
        other.commit()
        other.execute("SELECT 1 FROM sync.migrations FOR UPDATE")  # as another process does that applies it
        operator.write(config_with({"default": empty_url}))
        running = operator.launch(*LISTEN)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with psycopg.connect(empty_url, autocommit=True) as looking:
            wait_for(lambda: looking.execute(waiting).fetchone() != (0,))
        assert running.end() == 0
    assert running.out == "sync-server was told to end while it started\n"


def test_a_signal_while_a_command_stops_its_postgres(operator: Operator) -> None:
    operator.has_cluster().write(EMBEDDED)
    pid_file = operator.directory / "data" / "postgres" / "postmaster.pid"
    running = operator.launch(command="migrate")
    wait_for(lambda: pid_file.exists() and "stopping" in pid_file.read_text(), pause=0.001)
    assert running.end() == 0
    assert running.out == "Realm default: up to date\n"
    assert operator.postmasters() == []


@pytest.mark.parametrize(
    "data_dir", ["occupied", "occupied/below", "/dev/null/data", "/proc/data"]
)  # a file where a directory should be, and places that nobody may write to
def test_a_data_directory_that_cannot_be(operator: Operator, data_dir: str) -> None:
    (operator.directory / "occupied").write_text("a file")
    operator.write(config_with({"default": "embedded"}, data_dir=data_dir))
    complaint = operator.run("serve", *LISTEN).complaint
    assert data_dir in complaint
    keys = "0123456789abcdef0123456789abcdef"
    operator.write(config_with({"default": "embedded"}, data_dir=data_dir, secret_key=keys, secret_key_refresh=keys))
    complaint = operator.run("serve", *LISTEN).complaint
    assert complaint.startswith("sync-server: The embedded PostgreSQL cannot use ")
    assert "server.data_dir" in complaint


def test_secrets_that_were_damaged(operator: Operator) -> None:
    operator.write(EMBEDDED)
    path = operator.directory / "data" / "secrets.json"
    path.parent.mkdir()
    path.write_text('{"secret_key": "abc')
    complaint = operator.run("serve", *LISTEN).complaint
    assert str(path) in complaint
    assert "abc" not in complaint
    assert operator.postmasters() == []


def test_a_data_directory_with_a_long_name(operator: Operator) -> None:
    """Longer than a unix socket's address may be; PostgreSQL is killed, and found again in its new place."""
    data = Path("x" * 100) / "data"
    running = operator.serve(config_with({"default": "embedded"}, data_dir=str(data)))
    assert register(running.url).status_code == 200
    os.kill(postmaster(operator), signal.SIGKILL)
    wait_for(lambda: '"embedded_postgres_died"' in running.log)
    wait_for(lambda: register(running.url, number=2).status_code == 200, SOON)
    assert running.end() == 0


def test_a_directory_whose_name_is_no_text(operator: Operator) -> None:
    """Bytes that are not UTF-8, as in directories of old systems."""
    directory = operator.directory / os.fsdecode(b"caf\xe9")
    try:
        directory.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    running = Operator(directory).serve(EMBEDDED, environment={"PYTHONIOENCODING": "utf-8"})
    try:
        assert "mails are written to " in wait_for(lambda: running.out if "outbox" in running.out else "")
        assert register(running.url).status_code == 200
        assert running.end() == 0
    finally:
        running.close()


def test_the_port_is_held_while_postgres_starts(operator: Operator) -> None:
    """A client that comes early waits, instead of hearing that nobody is there."""
    port = free_port()
    operator.has_cluster().write(EMBEDDED)
    running = operator.launch("--host", "127.0.0.1", "--port", str(port))
    wait_for((operator.directory / "data" / "postgres.lock").exists)
    early = Raw(port).send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    assert early.answer()[0] == 200
    early.close()
    assert running.end() == 0
