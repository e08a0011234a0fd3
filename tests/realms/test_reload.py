"""SIGHUP: the realms of the configuration are served without a restart, and nothing else changes."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from postgres import superuser
from proxies import FREEZE, PASS, Proxy
from server.calls import Call, begin_sync, change, log_in, push, register
from server.databases import count, locked_space, somebody_waits
from server.operating import ALSO_TWO, Operator, Running, config_with, wait_for

SOON = 60.0


def hang_up(operator: Operator, running: Running, config: dict[str, Any] | str, times: int) -> None:
    """Write the configuration, send SIGHUP, and wait until the server has said what became of it, for so many times."""
    operator.write(config)
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: said(running, "reloaded", "reload_refused") >= times)


def said(running: Running, *events: str) -> int:
    return sum(f'"{event}"' in line for line in running.log.splitlines() for event in events)


def everywhere(running: Running, realm: str, number: int, status: int) -> None:
    """Every worker answers the realm with this status, soon; a new connection each time reaches them all."""
    deadline = time.monotonic() + SOON
    in_a_row = 0
    while in_a_row < 12:
        in_a_row = in_a_row + 1 if register(running.url, realm, number).status_code == status else 0
        assert time.monotonic() < deadline, realm


@ALSO_TWO
def test_realms_are_added_changed_and_removed(
    operator: Operator, new_database: Callable[[], str], workers: str
) -> None:
    kept, gone, first, second = (new_database() for _ in range(4))
    operator.has_cluster()
    running = operator.serve(config_with({"kept": kept, "gone": gone, "moved": first}), "--workers", workers)
    everywhere(running, "moved", 1, 200)
    everywhere(running, "gone", 1, 200)
    new = new_database()
    hang_up(operator, running, config_with({"kept": kept, "moved": second, "new": new, "own": "embedded"}), 1)
    everywhere(running, "new", 2, 200)
    everywhere(running, "own", 2, 200)
    everywhere(running, "gone", 1, 404)
    everywhere(running, "moved", 2, 200)
    assert count(first, "SELECT count(*) FROM sync.users") == 1
    assert count(second, "SELECT count(*) FROM sync.users") == 1
    lines = [json.loads(line) for line in running.log.splitlines() if '"reloaded"' in line]
    assert [(line["added"], line["changed"], line["removed"]) for line in lines] == [
        (["new", "own"], ["moved"], ["gone"])
    ]
    wait_for(lambda: connections_of(first) + connections_of(gone) == 0)
    hang_up(operator, running, config_with({"kept": kept}), 2)
    everywhere(running, "own", 2, 404)
    assert running.end() == 0
    assert running.faults() == []
    assert operator.postmasters() == []


def connections_of(url: str) -> int:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sync-server' AND datname = current_database()"
    )
    return count(superuser(url), query)  # past a pooler, in which who counts would get one of them


@ALSO_TWO
def test_calls_to_a_realm_that_is_removed_end_well(
    operator: Operator, new_database: Callable[[], str], workers: str
) -> None:
    kept, default = new_database(), new_database()
    running = operator.serve(config_with({"kept": kept, "default": default}), "--workers", workers)
    register(running.url)
    headers = begin_sync(running, log_in(running.url))
    with locked_space(default):
        call = Call(f"{running.url}/push/default", push([change(1)]), headers)
        wait_for(lambda: somebody_waits(default))
        hang_up(operator, running, config_with({"kept": kept}), 1)
        everywhere(running, "default", 1, 404)
        assert call.answer is None
    assert call.result().status_code == 200
    assert count(default, "SELECT count(*) FROM sync.rows") == 1
    wait_for(lambda: connections_of(default) == 0)
    assert running.faults() == []


@pytest.mark.parametrize(
    "broken",
    [
        "{ this is being edited",
        *[pytest.param({"db": {"realms": realms}}, marks=pytest.mark.long) for realms in ({"main": "mysql://x"}, {})],
    ],
)
def test_a_broken_configuration_leaves_the_old_one_in_force(
    operator: Operator, new_database: Callable[[], str], broken: dict[str, Any] | str
) -> None:
    config = config_with({"main": new_database()})
    running = operator.serve(config)
    hang_up(operator, running, broken, 1)
    assert register(running.url, "main").status_code == 200
    refused = [json.loads(line) for line in running.log.splitlines() if "reload" in line]
    assert [line["event"] for line in refused] == ["reload_refused"]
    assert "config.json: " in refused[0]["reason"]
    config["db"]["realms"]["new"] = new_database()
    hang_up(operator, running, config, 2)
    assert register(running.url, "new").status_code == 200
    assert running.faults() == []


def test_what_takes_a_restart_is_said(operator: Operator, new_database: Callable[[], str]) -> None:
    main = new_database()
    running = operator.serve(config_with({"main": main}))
    secret = "a secret that nobody may see in a log"
    config = config_with({"main": main, "new": main}, workers=2, port=1, secret_key=secret, data_dir="elsewhere")
    config["db"] |= {"max_connections": 3}
    hang_up(operator, running, config | {"email": {"apps": {"new": "News"}, "smtp": "mail.example.com"}}, 1)
    told = [json.loads(line) for line in running.log.splitlines() if "reload_needs_restart" in line]
    assert [sorted(line["keys"]) for line in told] == [
        ["db.max_connections", "email.smtp", "server.data_dir", "server.port", "server.secret_key", "server.workers"]
    ]
    assert secret not in running.log
    assert register(running.url, "new").status_code == 200
    assert not (operator.directory / "elsewhere").exists()


@pytest.mark.long
def test_a_worker_that_is_replaced_knows_the_new_realms(operator: Operator, new_database: Callable[[], str]) -> None:
    main, new = new_database(), new_database()
    running = operator.serve(config_with({"main": main}), "--workers", "2")
    hang_up(operator, running, config_with({"main": main, "new": new}), 1)
    everywhere(running, "new", 1, 200)
    from server.test_workers import workers_of  # noqa: PLC0415 - what tells them

    for pid in workers_of(running):
        os.kill(pid, signal.SIGKILL)
    wait_for(running.greets)
    everywhere(running, "new", 1, 200)


def test_an_added_realm_whose_database_hangs_disturbs_nobody(
    operator: Operator, new_database: Callable[[], str], proxy: Proxy, behind: str
) -> None:
    main = new_database()
    running = operator.serve(config_with({"main": main}))
    proxy.mode = FREEZE
    operator.write(config_with({"main": main, "hung": behind, "new": new_database()}))
    running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + SOON
    while not said(running, "reloaded"):
        begun = time.monotonic()
        assert register(running.url, "main").status_code == 200
        assert time.monotonic() - begun < 4.5, "as long as a database is waited for"
        assert time.monotonic() < deadline
    assert register(running.url, "new").status_code == 200
    assert register(running.url, "hung").status_code == 503
    proxy.mode = PASS
    wait_for(lambda: register(running.url, "hung").status_code == 200)
    wait_for(lambda: said(running, "realm_is_back"))
    assert running.end() == 0


def test_a_closed_terminal_ends_the_server(operator: Operator, new_database: Callable[[], str]) -> None:
    operator.write(config_with({"main": new_database()}))
    terminal, inside = pty.openpty()
    running = operator.launch("--host", "127.0.0.1", "--port", "0", stdin=inside).until_it_listens()
    os.close(inside)
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: said(running, "reloaded"))
    assert httpx.get(running.url).status_code == 200
    os.close(terminal)
    assert running.end(signal.SIGHUP) == 0
