"""What an operator does: write a configuration, run commands, start servers, look at what they say, end them."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

import clusters
import forking
from postgres import served

T = TypeVar("T")
OF_THE_SERVER = ("PORT", "SYNC_SERVER_CONFIG", "RATE_LIMIT_DISABLE")
GRACE = 60.0
AT_ONCE = 30.0
"""Seconds in which a server ends that has nothing to wait for, also on a busy machine; by itself it takes about one. Any
time well below the grace will do."""
BOTH = pytest.mark.parametrize("workers", ["1", "2"])
ALSO_TWO = pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
"""For what two workers do each by itself, as one does."""
_LISTENS = re.compile(r"listens on http://(\S+):(\d+)$")


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error of a command that could not do its work."""
        assert self.code == 1, self
        assert self.err.endswith("\n"), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.out, self
        return self.err.strip()


@dataclass
class Running:
    """A `sync-server serve`, and what it has said so far."""

    process: forking.Running
    log_path: Path
    lines: list[str] = field(default_factory=list)
    host: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := _LISTENS.search(line.rstrip()):
                self.host, self.port = found[1], int(found[2])
            self.lines.append(line)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return "".join(self.lines)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def until_it_listens(self) -> Running:
        """Wait until everything about what it serves is said and a call is answered."""
        wait_for(lambda: self.port or self.process.poll() is not None, 60)
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.out}{self.log}"
        wait_for(self.greets)
        return self

    def greets(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(self.url, timeout=30).status_code == 200
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, number: int = signal.SIGTERM, timeout: float = AT_ONCE) -> int:
        """Send a signal (0: none) and wait for the end; the exit code."""
        if number and self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        self._reader.join(30)
        return code

    def close(self) -> None:
        self._reader.join(30)
        if (
            self.process.stdout is not None and not self._reader.is_alive()
        ):  # else a process was left behind: a test fails
            self.process.stdout.close()

    def faults(self) -> list[str]:
        """What must never stand in a log."""
        return [
            line for line in self.log.splitlines() if '"fault"' in line or "Traceback" in line or "Exception" in line
        ]


class Operator:
    """Works in a directory of their own; whatever they leave running is ended by `leave`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: list[Running] = []
        self._numbers = itertools.count(1)

    def write(self, config: dict[str, Any] | str | bytes, name: str = "config.json") -> Path:
        content = json.dumps(served(config)) if isinstance(config, dict) else config
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Finished:
        """Run a command to its end."""
        done = forking.run([*arguments], self.directory, _environment(environment))
        return Finished(done.returncode, done.stdout, done.stderr)

    def launch(
        self,
        *arguments: str,
        cwd: Path | None = None,
        session: bool = False,
        before: Sequence[str] = (),
        command: str = "serve",
        environment: Mapping[str, str] | None = None,
        stdin: int | None = None,
    ) -> Running:
        """Start `serve` or another command, in a session of its own or behind yet another one, and do not wait."""
        log_path = self.directory / f"server-{next(self._numbers)}.log"
        with log_path.open("w") as log:
            process: forking.Running
            if not (session or before or stdin is not None):
                process = forking.start(
                    [command, *arguments], cwd or self.directory, _environment(environment), stderr=log
                )
            else:
                process = subprocess.Popen(
                    [*before, *forking.COMMAND, command, *arguments],
                    cwd=cwd or self.directory,
                    env=_environment(environment),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=session,
                )
        running = Running(process, log_path)
        self._running.append(running)
        return running

    def serve(self, config: dict[str, Any], *arguments: str, environment: Mapping[str, str] | None = None) -> Running:
        """Start `serve` with this configuration on a free port and wait until it answers."""
        self.write(config)
        at = ("--host", "127.0.0.1", "--port", "0")
        return self.launch(*at, *arguments, environment=environment).until_it_listens()

    def has_cluster(self) -> Operator:
        """The embedded PostgreSQL has been started before: its next start takes a tenth of the time."""
        clusters.put(self.directory / "data" / "postgres")
        return self

    def leave(self) -> None:
        for running in self._running:
            if running.process.poll() is None:
                running.kill()
            running.close()
        for pid in self.postmasters():
            os.kill(pid, signal.SIGQUIT)
        wait_for(lambda: not self.postmasters())

    def postmasters(self) -> list[int]:
        """The embedded PostgreSQLs that run in this directory."""
        pid_files = self.directory.glob("**/postgres/postmaster.pid")
        pids = []
        for path in pid_files:
            with suppress(OSError, ValueError):
                pid = int(path.read_text().split("\n")[0])
                os.kill(pid, 0)
                pids.append(pid)
        return pids


def _environment(given: Mapping[str, str] | None) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in OF_THE_SERVER}, **(given or {})}


def wait_for(condition: Callable[[], T | None], limit: float = 60.0, pause: float = 0.05) -> T:
    """Wait until `condition` is truthy; what it was then. The limit is for machines that are very busy."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {limit} s"
        time.sleep(pause)
    return found


def config_with(realms: dict[str, Any], **server: Any) -> dict[str, Any]:
    return {"server": {"bcrypt_rounds": 4, "grace": GRACE, **server}, "db": {"realms": realms}}


def free_port(family: int = socket.AF_INET, host: str = "127.0.0.1") -> int:
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


@contextmanager
def ends_within(running: Running, seconds: float, number: int = signal.SIGTERM) -> Iterator[None]:
    """Send the signal; after the block the server ends with 0, at most so long after the signal."""
    running.process.send_signal(number)
    started = time.monotonic()
    yield
    try:
        code = running.process.wait(max(0.0, started + seconds - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise AssertionError(f"still there after {time.monotonic() - started:.1f} s: {running.log}") from None
    assert code == 0, running.log
