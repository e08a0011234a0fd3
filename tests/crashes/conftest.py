"""A PostgreSQL that tests let crash, and a server before it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

import clusters
from conftest import Process, start_server
from instances.fleet import configuration, mistakes
from postgres import superuser
from replication.machines import children, kill_all, wait_for
from sync_server import migrations
from sync_server.embedded import EmbeddedPostgres
from users import User, look_into
from wire import Wire

STILL = {"fsync": "off", "autovacuum": "off", "bgwriter_lru_maxpages": "0", "checkpoint_timeout": "1h"}
"""Processes die here, no machines; and nothing is written but what the tests ask for."""


class Home:
    """The server, its database, and its users."""

    def __init__(self, postgres: EmbeddedPostgres, directory: Path) -> None:
        self.postgres = postgres
        self.url = postgres.create_database("main")
        config = configuration(self.url)
        config["db"] = {"realms": {"main": {"url": self.url, "history": "full"}}}
        self.server: Process = start_server(directory, config, environment={"RATE_LIMIT_DISABLE": "1"})
        self.wire = Wire(self.server.url)
        self.connection = look_into(self.url)
        self._users: list[User] = []

    def user(self) -> User:
        self._users.append(User(self.wire.send, "main", self.connection))
        return self._users[-1]

    def crash(self) -> None:
        """PostgreSQL is killed with all its processes, and started again."""
        assert self.postgres.pid is not None
        kill_all(self.postgres.pid)
        wait_for(lambda: not self.postgres.running)
        self._start_again()

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate`, and it is started again."""
        assert self.postgres.pid is not None
        os.kill(self.postgres.pid, signal.SIGQUIT)
        wait_for(lambda: not self.postgres.running)
        self._start_again()

    def lose_a_process(self) -> None:
        """One of its processes is killed, as by a machine that is out of memory: PostgreSQL starts itself again."""
        assert self.postgres.pid is not None
        postmaster, before = self.postgres.pid, set(children(self.postgres.pid))
        os.kill(self.connection.info.backend_pid, signal.SIGKILL)
        wait_for(lambda: before.isdisjoint(children(postmaster)))
        wait_for(self._answers)
        self._start_again()

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url).close()
            return True
        return False

    def restart(self) -> None:
        """PostgreSQL is stopped in good order, and started again."""
        self.postgres.stop()
        self._start_again()

    def _start_again(self) -> None:
        self.connection.close()
        self.postgres.start()
        self.connection = look_into(self.url)
        for user in self._users:
            user.connection = self.connection

    def syncs(self) -> int:
        """How many clients have something in sync.syncs."""
        [found] = self.connection.execute("SELECT count(*) FROM sync.syncs").fetchall()
        count = found["count"]
        assert isinstance(count, int)
        return count

    def close(self) -> None:
        self.wire.close()
        self.connection.close()
        assert self.server.stop() == 0
        assert not mistakes([self.server])


@pytest.fixture(scope="session")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(clusters.put(tmp_path_factory.mktemp("crashing") / "data"), STILL)
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="module")
def home(crashing: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(crashing, tmp_path_factory.mktemp("home"))
    yield home
    home.close()


@pytest.fixture(scope="session")
def quiet_url(crashing: EmbeddedPostgres) -> str:
    """The URL of a database that no server looks at."""
    url = crashing.create_database("quiet")
    migrations.migrate(url)
    with look_into(superuser(url)) as connection:
        connection.execute("VACUUM FREEZE")  # so that no reader notes who is committed, which is logged, too
    return url
