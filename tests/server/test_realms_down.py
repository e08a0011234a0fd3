"""Realms whose database is away, or not what it should be: 503 for them alone, and only until it is back."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest

import clusters
from postgres import database_of, superuser
from server.calls import register
from server.databases import count
from server.operating import Operator, config_with, free_port, wait_for
from sync_server import migrations
from sync_server.embedded import EmbeddedPostgres

FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB"}
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
SOON = 60.0
"""Seconds. A realm is tried every 5 seconds, and its pool too."""


@pytest.fixture
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server that a test may stop and kill; it runs."""
    directory: Path = tmp_path_factory.mktemp("second")
    embedded = EmbeddedPostgres(clusters.put(directory / "data"), settings=FAST)
    embedded.start()
    yield embedded
    embedded.stop()


def unreachable(database: str = "db") -> str:
    return f"postgresql://user:hidden@127.0.0.1:{free_port()}/{database}"


def refused_with_503(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.json().keys() == {"code", "error", "message"}
    assert answer.json()["error"] == "unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["access-control-allow-origin"] == "*"


def test_no_realm_can_be_reached(operator: Operator) -> None:
    operator.write(
        config_with({"a": unreachable(), "b": "postgresql://h.invalid/db", "c": "postgresql:///d?host=/none"})
    )
    complaint = operator.run("serve", "--port", "0").complaint
    assert complaint.startswith("sync-server: No realm can be served: realm a: its database cannot be reached: ")
    for part in ("Connection refused; check host and port", "resolve host 'h.invalid'", "realm c: ", "No such file"):
        assert part in complaint
    assert "hidden" not in complaint


def test_many_that_do_not_answer_are_tried_at_the_same_time(operator: Operator) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        url = f"postgresql://127.0.0.1:{mute.getsockname()[1]}/db"
        operator.write(config_with({f"realm{number}": url for number in range(7)}))
        started = time.monotonic()
        complaint = operator.run("serve", "--port", "0").complaint
        assert time.monotonic() - started < 30  # 5 seconds each
    assert "timeout" in complaint
    assert complaint.endswith("and 4 others")


def test_a_realm_that_is_down_at_the_start_works_when_its_database_is_there(
    operator: Operator, empty_url: str, second: EmbeddedPostgres
) -> None:
    late = second.create_database("late")
    second.stop()
    running = operator.serve(config_with({"default": empty_url, "late": late}))
    wait_for(lambda: "realm late" in running.out)
    assert "  realm late (PostgreSQL URL, down: answers 503 until it is back)\n" in running.out
    assert re.search("^sync-server: realm late: its database cannot be reached: .*; check", running.log, re.MULTILINE)
    refused_with_503(register(running.url, "late"))
    assert register(running.url).status_code == 200
    second.start()
    wait_for(lambda: register(running.url, "late").status_code == 200, SOON)
    assert count(late, "SELECT count(*) FROM sync.users") == 1
    assert '"realm_is_back"' in running.log
    assert running.faults() == []


def test_a_database_that_restarts_or_is_killed_while_serving(
    operator: Operator, empty_url: str, second: EmbeddedPostgres
) -> None:
    away = second.create_database("away")
    running = operator.serve(config_with({"default": empty_url, "away": away}))
    assert register(running.url, "away").status_code == 200
    second.stop()
    refused_with_503(register(running.url, "away", 2))
    assert register(running.url).status_code == 200
    second.start()
    wait_for(lambda: register(running.url, "away", 2).status_code == 200, SOON)
    kill(second)
    refused_with_503(register(running.url, "away", 3))
    second.start()
    wait_for(lambda: register(running.url, "away", 3).status_code == 200, SOON)
    assert count(away, "SELECT count(*) FROM sync.users") == 3
    assert running.faults() == []


def kill(embedded: EmbeddedPostgres) -> None:
    assert embedded.pid is not None
    os.kill(embedded.pid, signal.SIGKILL)
    wait_for(lambda: not embedded.running)


def test_a_database_without_the_schema_answers_503(operator: Operator, new_database: Callable[[], str]) -> None:
    """As after a restore that was forgotten, or while an operator works on it."""
    lost, whole = new_database(), new_database()
    running = operator.serve(config_with({"lost": lost, "whole": whole}))
    assert register(running.url, "lost").status_code == 200
    with psycopg.connect(lost, autocommit=True) as connection:
        connection.execute("DROP SCHEMA sync CASCADE")
    refused_with_503(register(running.url, "lost", 2))
    assert '"database_not_ready"' in running.log
    assert register(running.url, "whole").status_code == 200
    assert operator.run("migrate", "--realm", "lost").code == 0
    assert register(running.url, "lost", 2).status_code == 200
    assert running.faults() == []


def test_a_role_that_may_not_use_the_tables_answers_503(operator: Operator, new_database: Callable[[], str]) -> None:
    database, whole = new_database(), new_database()
    migrations.migrate(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA sync FROM CURRENT_USER")
        connection.execute("GRANT SELECT ON sync.migrations TO CURRENT_USER")
    running = operator.serve(config_with({"closed": database, "whole": whole}))
    refused_with_503(register(running.url, "closed"))
    assert "permission denied" in running.log
    assert running.faults() == []


def test_a_database_that_only_takes_reads_answers_503(operator: Operator, new_database: Callable[[], str]) -> None:
    standby, whole = new_database(), new_database()
    running = operator.serve(config_with({"standby": standby, "whole": whole}))
    assert register(running.url, "standby").status_code == 200
    name, admin = database_of(standby), superuser(standby)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        connection.execute(END_OTHERS)
    refused_with_503(register(running.url, "standby", 2))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        connection.execute(END_OTHERS)
    wait_for(lambda: register(running.url, "standby", 2).status_code == 200, SOON)
    assert running.faults() == []


def test_a_realm_whose_migration_fails_does_not_stop_the_others(
    operator: Operator, new_database: Callable[[], str]
) -> None:
    broken, whole = new_database(), new_database()
    migrations.migrate(broken)
    with psycopg.connect(broken, autocommit=True) as connection:
        connection.execute("UPDATE sync.migrations SET digest = 'other' WHERE version = 1")
    running = operator.serve(config_with({"broken": broken, "whole": whole}))
    expected = "sync-server: realm broken: its schema cannot be brought up to date: 0001_initial differs from the file"
    assert expected in running.log
    assert register(running.url, "whole").status_code == 200
