"""A PostgreSQL as the service `database` of docker-compose.yml is one: over TCP, for whoever has the password."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from sync_server.embedded import find_binaries

ROLE = "sync_server"


class Database:
    """A cluster with one role and one database of the same name."""

    def __init__(self, directory: Path, account: tuple[int, int], port: int, password: str) -> None:
        """`account`: the uid and gid that it runs as when this process is root, which PostgreSQL does not run as."""
        self._directory = directory
        self._account = account
        self.port = port
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the cluster as the image's entry point does."""
        password = self._directory / "password"
        password.write_text(self._password + "\n")
        for path in (self._directory, password):
            os.chown(path, *self._account)
        options = (f"--username={ROLE}", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync")
        command: list[str | Path] = [find_binaries() / "initdb", "-D", self._directory / "cluster", *options]
        with self._run(command) as initdb:
            assert initdb.wait(60) == 0, self._log.read_text()

    def start(self) -> None:
        """Return once the database can be used."""
        settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        options = [word for setting in settings for word in ("-c", setting)]
        command: list[str | Path] = [find_binaries() / "postgres", "-D", self._directory / "cluster", *options]
        self._process = self._run(command)
        deadline = time.monotonic() + 120
        while not self._created():
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # as docker stop does for this image: without waiting for clients
            self._process.wait(30)
            self._process = None

    def connect(self, name: str = ROLE) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ROLE, password=self._password, dbname=name, autocommit=True
        )

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _run(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        uid, gid = self._account
        with self._log.open("a") as log:
            if os.geteuid() != 0:
                return subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
            return subprocess.Popen(command, stdout=log, stderr=log, cwd="/", user=uid, group=gid, extra_groups=[])

    def _created(self) -> bool:
        try:
            with self.connect("postgres") as connection:
                connection.execute(f"CREATE DATABASE {ROLE}")
        except psycopg.errors.DuplicateDatabase:
            return True
        except psycopg.OperationalError:
            return False
        return True
