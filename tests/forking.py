"""Runs `sync-server` in processes forked from one that has imported it already: most of what a start costs is its imports.

Everything else is as when the command is executed: a process with a directory, an environment, files and an end of its own.
What acts before the first import (libfaketime, the locale, PYTHON…) needs a program that is executed, and gets it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TextIO

COMMAND = [sys.executable, "-m", "sync_server"]
_BEFORE_IMPORTS = ("LD_", "FAKETIME", "PYTHON", "PSYCOPG", "LC_", "LANG", "TZ")
_FORKS = sys.platform == "linux"
_NUMBER = struct.Struct("i")


class Forked:
    """A process, with what tests want of a subprocess.Popen."""

    def __init__(self, arguments: list[str], pid: int, status: int, stdout: IO[str] | None) -> None:
        self.args = arguments
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self._one_at_a_time = threading.Lock()

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(0.2 if end is None else max(0.0, min(0.2, end - time.monotonic())))) is None:
            if end is not None and time.monotonic() >= end and timeout is not None:
                raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, patience: float) -> int | None:
        with self._one_at_a_time:
            if self.returncode is None and _readable(self._status, patience):
                told = os.read(self._status, _NUMBER.size)
                os.close(self._status)
                assert told, "the process that forks has died"
                self.returncode = os.waitstatus_to_exitcode(_NUMBER.unpack(told)[0])
            return self.returncode


def _readable(file: int, seconds: float) -> bool:
    waiting = select.poll()  # which knows files beyond 1023
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


Running = Forked | subprocess.Popen[str]


def start(
    arguments: list[str],
    directory: Path,
    environment: Mapping[str, str],
    *,
    stderr: IO[Any],
    stdout: IO[Any] | None = None,
) -> Running:
    """Start `sync-server` with exactly this environment. Its output can be read from `.stdout` unless `stdout` is given."""
    given = {name for name in environment if environment[name] != os.environ.get(name)}
    if not _FORKS or any(name.startswith(_BEFORE_IMPORTS) for name in given):
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=directory,
            env=environment,
            stdout=stdout or subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    if stdout is not None:
        return _forker.fork(arguments, directory, environment, stdout.fileno(), stderr.fileno())
    reading, writing = os.pipe()
    try:
        return _forker.fork(arguments, directory, environment, writing, stderr.fileno(), os.fdopen(reading))
    finally:
        os.close(writing)


def run(
    arguments: list[str], directory: Path, environment: Mapping[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `sync-server` to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        running = start(
            arguments, directory, os.environ if environment is None else environment, stdout=out, stderr=err
        )
        try:
            code = running.wait(timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


class _Forker:
    """The process that has imported sync_server, started when it is first needed; it ends with ours."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._one_at_a_time = threading.Lock()

    def fork(
        self,
        arguments: list[str],
        directory: Path,
        environment: Mapping[str, str],
        out: int,
        err: int,
        stdout: IO[str] | None = None,
    ) -> Forked:
        wanted = json.dumps([arguments, str(directory), dict(environment)]).encode()
        status, told = os.pipe()
        with self._one_at_a_time:
            channel = self._channel = self._channel or self._begin()
            socket.send_fds(channel, [_NUMBER.pack(len(wanted))], [out, err, told])
            channel.sendall(wanted)
            os.close(told)
            (pid,) = _NUMBER.unpack(_exactly(channel, _NUMBER.size))
        return Forked(arguments, pid, status, stdout)

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            process = subprocess.Popen([sys.executable, "-P", __file__, str(number)], pass_fds=[number])
            process.returncode = 0  # or there is a warning in the end
        atexit.register(ours.close)
        return ours


_forker = _Forker()


def _exactly(channel: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = channel.recv(size - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def _fork_when_asked(channel: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]] | None:
    """Fork until the tests have ended, which is when None is returned; in a forked process return what it is to become."""
    to_be_told: dict[int, int] = {}
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([channel.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_who_has_ended(to_be_told)
        if channel.fileno() not in ready:
            continue
        head, files, _, _ = socket.recv_fds(channel, _NUMBER.size, 3)
        if not head:
            return None
        wanted = json.loads(_exactly(channel, _NUMBER.unpack(head)[0]))
        pid = os.fork()
        if not pid:
            return (*wanted, files)
        to_be_told[pid] = files[2]
        os.close(files[0])
        os.close(files[1])
        channel.sendall(_NUMBER.pack(pid))


def _tell_who_has_ended(to_be_told: dict[int, int]) -> None:
    while to_be_told:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with suppress(BrokenPipeError):  # nobody waits for it
            os.write(to_be_told[pid], _NUMBER.pack(status))
        os.close(to_be_told.pop(pid))


def _become(arguments: list[str], directory: str, environment: dict[str, str], files: list[int]) -> None:
    """Make this process what executing the command would have made."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    sys.stdout = _opened(1, sys.stdout, -1)
    sys.stderr = _opened(2, sys.stderr, 1)
    os.closerange(3, max(files) + 1000)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["sync-server", *arguments]


def _opened(number: int, before: TextIO, buffering: int) -> TextIO:
    return open(number, "w", buffering, before.encoding, before.errors, closefd=False)


def _main() -> None:
    inherited = signal.signal(signal.SIGINT, signal.SIG_IGN)
    from sync_server import __main__, cli, commands  # noqa: F401, PLC0415 - a server's workers import this file, too

    for module in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
        importlib.import_module(module.name)
    gc.freeze()
    wanted = _fork_when_asked(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        _become(*wanted)
        signal.signal(signal.SIGINT, inherited)
        __main__.main()


if __name__ == "__main__":
    _main()
