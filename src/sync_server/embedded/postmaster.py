"""A running postmaster."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from enum import Enum
from pathlib import Path

import psycopg
import structlog

from sync_server.embedded.problems import EmbeddedError
from sync_server.embedded.processes import IMMEDIATE_STOP_LIMIT, PidFile, end_processes, kill, runs_in
from sync_server.embedded.programs import SUPERUSER
from sync_server.embedded.sockets import PORT

log = structlog.get_logger()

RECOVERY_LIMIT = 600.0  # seconds as long as it says that it is starting up (crash recovery) or shutting down
FAST_STOP_LIMIT = 30.0


class Answer(Enum):
    """What a postmaster says when one asks for a connection."""

    READY = "ready"
    BUSY = "busy"  # it is there, but starting, recovering, stopping or full
    SILENT = "silent"


class Postmaster:
    """A running postmaster: our child, or one that another process started."""

    def __init__(
        self, directory: Path, pid: int, child: subprocess.Popen[bytes] | None = None, socket_directory: str = ""
    ) -> None:
        self.directory = directory
        self.pid = pid
        self.port = PORT
        self.socket_directory = socket_directory
        self._child = child

    @classmethod
    def find(cls, directory: Path) -> Postmaster | None:
        """The one that runs in the directory, whoever started it; raises EmbeddedError for a single-user session."""
        found = PidFile.read(directory)
        if found is None or not runs_in(directory, found.pid):
            return None
        if found.standalone:
            raise EmbeddedError(f"A single-user postgres (process {found.pid}) works in {directory}: end it first.")
        return cls(directory, found.pid, socket_directory=found.socket_directory)

    def alive(self) -> bool:
        """Whether the process runs; a later process with the same pid does not count."""
        return self._child.poll() is None if self._child is not None else runs_in(self.directory, self.pid)

    def connect(self) -> psycopg.Connection:
        """A connection as the superuser, to the maintenance database."""
        return psycopg.connect(
            host=self.socket_directory, port=self.port, user=SUPERUSER, dbname="postgres", connect_timeout=3,
            autocommit=True,
        )  # fmt: skip

    def probe(self) -> Answer:
        """Ask for a connection where the pid file says; raises EmbeddedError when it answers, but will never let us in."""
        found = PidFile.read(self.directory)
        if found is None or found.pid != self.pid or not found.socket_directory:
            return Answer.SILENT
        self.socket_directory, self.port = found.socket_directory, found.port
        try:
            self.connect().close()
        except psycopg.OperationalError as exc:  # libpq gives no SQLSTATE here, and the messages are English (LC_ALL=C)
            if "FATAL:" not in str(exc):
                return Answer.SILENT
            if re.search("the database system is|too many clients|connection slots", str(exc)):
                return Answer.BUSY
            reason = " ".join(str(exc).partition("FATAL:")[2].split())
            raise EmbeddedError(f"The embedded PostgreSQL in {self.directory} lets nobody in: {reason}") from exc
        return Answer.READY

    def wait_ready(self, limit: float, cancelled: threading.Event) -> bool:
        """False when it ended, or was silent for `limit` seconds, or busy for RECOVERY_LIMIT, or `cancelled` was set."""
        started, pause = time.monotonic(), 0.02
        while self.alive():
            answer = self.probe()
            if answer is Answer.READY:
                return True
            if time.monotonic() - started > (RECOVERY_LIMIT if answer is Answer.BUSY else limit):
                return False
            if cancelled.wait(pause):
                return False
            pause = min(pause * 1.5, 0.5)
        return False

    def stop(self) -> None:
        """Fast shutdown (sessions are ended, a checkpoint is written); by force when that takes too long."""
        if not self._signal(signal.SIGINT, FAST_STOP_LIMIT):
            log.warning("embedded_postgres_stops_slowly", pid=self.pid, directory=str(self.directory))
            self.end()

    def end(self) -> None:
        """Immediate shutdown, then SIGKILL: nothing committed is lost, the next start recovers it."""
        if not self._signal(signal.SIGQUIT, IMMEDIATE_STOP_LIMIT):
            self._signal(signal.SIGKILL, IMMEDIATE_STOP_LIMIT)
        end_processes(self.directory)

    def _signal(self, number: int, limit: float) -> bool:
        deadline = time.monotonic() + limit
        if self.alive():
            kill(self.pid, number)
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
