"""PostgreSQL servers that replicate to each other, each in a directory and on a port of its own, as on several machines."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg

from sync_server.embedded.account import account_for, let_in
from sync_server.embedded.programs import Account, as_account, find_binaries

HOST = "127.0.0.1"
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",  # processes die here, no machines
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "200ms",
    "log_min_messages": "warning",
}


class Machine:
    """A PostgreSQL server. It is made by `make` or as a `copy`; `close` ends it whatever it is doing."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory / "data"
        self.port = _free_port()
        self.settings = SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = find_binaries()
        directory.mkdir(parents=True)
        self._account: Account | None = account_for(directory)
        if self._account:
            os.chown(directory, self._account.uid, self._account.gid)
            let_in(self._account, self.directory, self._programs)

    def make(self) -> None:
        """Make its data."""
        self._run(
            "initdb",
            "-D",
            self.directory,
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        )

    def copy(self, primary: Machine) -> None:
        """Take the data of a running primary; it becomes its standby."""
        source = f"host={HOST} port={primary.port} user=postgres"
        self._run("pg_basebackup", "-D", self.directory, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._programs / program, *arguments]
        subprocess.run(command, **as_account(self._account), capture_output=True, timeout=60, check=True)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        command: list[str | Path] = [self._programs / "postgres", "-D", self.directory, "-c", f"port={self.port}"]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with self.directory.with_name("log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_account(self._account),
            )
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.directory.with_name("log").read_text()
        with suppress(psycopg.OperationalError):
            self.ask("SELECT 1")
            return True
        return False

    def ask(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as a superuser; the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.url(database, "postgres"), autocommit=True, connect_timeout=30) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def url(self, database: str, role: str = "sync_server") -> str:
        return f"postgresql://{role}@{HOST}:{self.port}/{database}"

    def kill(self) -> None:
        """As when the machine goes off."""
        if self._process is None or self._process.poll() is not None:
            return
        kill_all(self._process.pid)
        self._process.wait(60)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def promote(self) -> None:
        """Make a standby the primary; it takes changes from now on."""
        assert self.ask("SELECT pg_promote(true, 30)") == [(True,)]


def kill_all(postmaster: int) -> None:
    """All its processes at once. (Without the first signal it would replace some.)"""
    os.kill(postmaster, signal.SIGSTOP)
    for child in children(postmaster):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os.kill(postmaster, signal.SIGKILL)


def children(process_id: int) -> list[int]:
    lists = (path.read_text() for path in Path(f"/proc/{process_id}/task").glob("*/children"))
    return [int(child) for child in " ".join(lists).split()]


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def wait_for(condition: Any, limit: float = 60.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s"
        time.sleep(0.05)


class Pair:
    """A primary and its standby, on which every commit waits."""

    def __init__(self, directory: Path) -> None:
        self.primary = Machine(directory / "first")
        self.standby = Machine(directory / "second")
        self.machines = [self.primary, self.standby]
        try:
            self.primary.make()
            self.primary.start()
            self.primary.ask("CREATE ROLE sync_server LOGIN", "CREATE DATABASE main OWNER sync_server")
            self.standby.copy(self.primary)
            self.standby.start()
            self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
            self.until_replicated()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Of the database at whichever of them takes changes."""
        hosts = ",".join(f"{HOST}:{machine.port}" for machine in self.machines)
        return f"postgresql://sync_server@{hosts}/main?target_session_attrs=read-write"

    def fail_over(self, pause: float = 0.0) -> None:
        """The primary goes off for good; after `pause` seconds the standby takes its place."""
        self.primary.kill()
        time.sleep(pause)
        self.standby.promote()

    def until_replicated(self) -> None:
        """Wait until the standby is the synchronous one."""
        wait_for(lambda: self.primary.ask("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))

    def close(self) -> None:
        for machine in self.machines:
            machine.kill()
