"""SIGTERM and Ctrl-C: running requests end, within the grace; nothing else holds the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from server.calls import register
from server.databases import somebody_waits
from server.operating import ALSO_TWO, AT_ONCE, BOTH, Operator, config_with, ends_within, wait_for
from server.raw import GREETING, REGISTRATION, Raw, head

KNOCKING = """
import socket, sys, time
from collections import deque
lines = deque()
try:
    while True:
        lines.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
        if len(lines) > 100:
            lines.popleft().close()
except OSError:
    time.sleep(30)
"""


@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGTERM), ("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_ends_at_once_with_0(operator: Operator, empty_url: str, workers: str, number: int) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", workers)
    with ends_within(running, AT_ONCE, number):
        pass
    with pytest.raises(ConnectionRefusedError):
        Raw(running.port)
    assert running.end() == 0
    assert running.lines[-1] == "sync-server has ended\n"
    assert running.faults() == []


@ALSO_TWO
def test_what_has_stopped_coming_does_not_hold_the_end(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", workers)
    silent = [Raw(running.port) for _ in range(8)]
    idle = [Raw(running.port).send(GREETING) for _ in range(8)]
    assert {line.answer()[0] for line in idle} == {200}
    half_heads = [Raw(running.port).send(REGISTRATION[:60]) for _ in range(8)]
    for line in idle[:4]:
        line.send(REGISTRATION[:60])
    half_bodies = [Raw(running.port).send(REGISTRATION[:-20]) for _ in range(8)]
    chunked = Raw(running.port).send(head("/register/default", "Transfer-Encoding: chunked") + b'3\r\n{"a\r\n')
    time.sleep(0.3)
    with ends_within(running, AT_ONCE):
        for line in [*half_bodies, chunked]:
            status, answer = line.json()
            assert (status, answer["code"], answer["error"]) == (408, 408, "body_stalled")
    for line in [*silent, *idle, *half_heads, *half_bodies, chunked]:
        assert line.until_closed() == b""
        line.close()
    assert running.faults() == []


@pytest.mark.parametrize("round_", range(2))
def test_connections_that_keep_coming_do_not_hold_the_end(operator: Operator, empty_url: str, round_: int) -> None:
    """Also one that is accepted in the moment in which the server closes. That happens, in one round of three or so, without
    uvloop, as on Windows.
    """
    (operator.directory / "uvloop.py").write_text("raise ImportError")
    path = [str(operator.directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(path)}
    running = operator.serve(config_with({"default": empty_url}), environment=environment)
    knocking = [subprocess.Popen([sys.executable, "-c", KNOCKING, str(running.port)]) for _ in range(3)]
    time.sleep(0.7 + 0.013 * round_)
    assert [process.poll() for process in knocking] == [None] * 3
    with ends_within(running, AT_ONCE):
        pass
    for process in knocking:
        process.terminate()
        process.wait()


def test_ctrl_c_in_a_terminal_reaches_every_process_and_shows_no_traceback(operator: Operator, empty_url: str) -> None:
    """Also at a moment when workers still start."""
    operator.write(config_with({"default": empty_url}))
    for pause in (0.0, 0.5):
        running = operator.launch("--workers", "3", "--port", "0", session=True)
        wait_for(lambda running=running: running.port)  # type: ignore[misc]
        time.sleep(pause)
        os.killpg(running.pid, signal.SIGINT)
        assert running.end(0) == 0
        assert running.log.count("Traceback") == 0, running.log
        assert running.lines[-1] in {"sync-server has ended\n", "sync-server was told to end while it started\n"}


@BOTH
def test_signals_that_keep_coming_do_not_disturb_the_end(operator: Operator, empty_url: str, workers: str) -> None:
    """Neither that of a running request nor that of the embedded PostgreSQL."""
    operator.has_cluster()
    running = operator.serve(config_with({"default": empty_url, "own": "embedded"}), "--workers", workers)
    with psycopg.connect(empty_url) as connection:
        connection.execute("LOCK TABLE sync.users")
        line = Raw(running.port).send(REGISTRATION)
        wait_for(lambda: somebody_waits(empty_url))
        for _ in range(50):
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
    while running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    assert running.end() == 0
    assert line.json()[0] == 200
    line.close()
    assert operator.postmasters() == []
    assert running.faults() == []


def test_a_server_behind_nohup_outlives_its_terminal(operator: Operator, empty_url: str) -> None:
    operator.write(config_with({"default": empty_url}))
    running = operator.launch("--host", "127.0.0.1", "--port", "0", before=["nohup"]).until_it_listens()
    running.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert register(running.url).status_code == 200
    assert running.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_is_still_being_imported_ends_it_without_a_word(number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "sync_server", "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    imported = iter(process.stderr.readline, "")
    assert any(line.rstrip().endswith(" click") for line in imported), "one of the first"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (-number, "")
    assert [line for line in err.splitlines() if not line.startswith("import time:")] == []
