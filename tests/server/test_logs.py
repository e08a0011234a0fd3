"""Logs: one JSON object per line, readable on a terminal, and never the reason why a call fails."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

from forking import COMMAND
from server.calls import register
from server.operating import Operator, config_with, wait_for

FAILING = """
import structlog
from sync_server import logs
logs.configure()
def fail(password):
    token = password + "-token"
    raise ValueError("it failed")
try:
    fail("hidden-word")
except ValueError as exc:
    structlog.get_logger().error("fault", exc_info=exc)
import logging
logging.getLogger("library").warning("a %s", "warning")
logging.getLogger("library").info("not this")
"""


def test_one_json_object_per_line() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", FAILING], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    fault, warning = (json.loads(line) for line in done.stderr.splitlines())
    assert (fault["event"], fault["level"]) == ("fault", "error")
    assert "ValueError: it failed" in fault["exception"]
    assert fault["timestamp"].endswith("Z")
    assert (warning["event"], warning["level"]) == ("a warning", "warning")
    assert warning["timestamp"].endswith("Z")


def test_readable_on_a_terminal_and_without_the_values_of_variables() -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", FAILING], stderr=end)
    os.close(end)
    written = b""
    try:
        while data := os.read(terminal, 4096):
            written += data
    except OSError:  # how the end of a terminal looks like
        pass
    os.close(terminal)
    assert process.wait() == 0, written
    assert b"ValueError: it failed" in written
    assert b"a warning" in written
    assert b"hidden-word-token" not in written
    assert not written.lstrip().startswith(b"{")


def test_calls_are_answered_when_nobody_reads_the_logs_any_more(operator: Operator, empty_url: str) -> None:
    """As in `sync-server serve 2>&1 | tee log` when tee is killed."""
    operator.write(config_with({"default": empty_url, "down": {"url": "postgresql://127.0.0.1:1/db"}}))
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--host", "127.0.0.1", "--port", "0"],
        cwd=operator.directory,
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
    )
    os.close(writing)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    os.close(reading)
    assert wait_for(lambda: register(url).status_code) == 200
    assert register(url, "down").status_code == 503  # which is logged
    assert register(url, number=2).status_code == 200
    process.terminate()
    process.stdout.read()
    process.stdout.close()
    process.wait(60)
