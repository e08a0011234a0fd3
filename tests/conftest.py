"""What all tests share: a real PostgreSQL, fresh databases in it, and a real server process in front of it."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

import clusters
import forking
from postgres import GIVEN, PREPARED, Given, Own, Postgres, prepare_nothing, served
from sync_server.embedded import EmbeddedPostgres

# Where the environment forbids to write bytecode, each worker would rewrite all tests anew, and each server compile itself.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("default")

# Nobody gives up waiting for an answer because the machine is busy.
for _limit in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _limit, 60.0)  # noqa: SLF001 - the functions have it as their default

# Every client reads the certificates of the world anew, which takes longer than most calls; the tests' servers have none.
httpx._transports.default.create_ssl_context = functools.cache(httpx._config.create_ssl_context)  # type: ignore[attr-defined] # noqa: SLF001

# Directories of this run's own: pytest takes /tmp/pytest-of-<user> away from others at every start, also from the database
# of a run that is under way, which as root belongs to another account.
_OWN_ROOT = "PYTEST_DEBUG_TEMPROOT"


def pytest_configure(config: pytest.Config) -> None:
    if _OWN_ROOT not in os.environ:
        os.environ[_OWN_ROOT] = tempfile.mkdtemp(prefix="tests-of-sync-server-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(_OWN_ROOT), ignore_errors=True))
    if not PREPARED:
        prepare_nothing()


FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_LISTENS = re.compile(r"listens on http://[^:]+:(\d+)")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Where the databases of the run are: a server of its own, quick because its data need not survive, or a given one."""
    if GIVEN:
        given = Given(GIVEN)
        yield given
        given.drop_databases()
        return
    embedded = Own(clusters.put(tmp_path_factory.mktemp("postgres") / "data"), settings=FAST)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def own_postgres_only(postgres: Postgres) -> EmbeddedPostgres:
    """For tests that reach into the server itself: its files, its socket."""
    if not isinstance(postgres, EmbeddedPostgres):
        pytest.skip("reaches into the tests' own PostgreSQL, not into a given one")
    return postgres


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    """The URL of a fresh, migrated database."""
    return postgres.create_migrated(f"test_{next(_numbers)}")


@dataclass
class Process:
    """A server process: `sync-server serve` with a configuration of its own."""

    directory: Path
    process: forking.Running
    port: int
    config: dict[str, Any]
    printed: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        if self.process.stdout is not None:
            self.printed.extend(self.process.stdout)
            self.process.stdout.close()
        return code

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text()


def start_server(
    directory: Path, config: dict[str, Any], *arguments: str, environment: dict[str, str] | None = None
) -> Process:
    """Start a server in `directory` and wait until it listens. Its port is free unless `arguments` name one."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(served(config)))
    log = (directory / "server.log").open("a")
    command = ["serve", "--host", "127.0.0.1", "--port", "0", *arguments]
    process = forking.start(command, directory, {**os.environ, **(environment or {})}, stderr=log)
    log.close()
    printed: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        printed.append(line)
        if found := _LISTENS.search(line):
            return Process(directory, process, int(found[1]), config, printed)
    process.stdout.close()
    process.wait()
    raise AssertionError(
        f"the server ended with {process.returncode}: {printed} {(directory / 'server.log').read_text()}"
    )


@dataclass
class Server:
    """The server that most tests share; they keep apart by users of their own."""

    url: str
    dsns: dict[str, str]
    data_dir: Path
    realm: str = "main"
    other_realm: str = "other"
    process: Process | None = None

    def dsn(self, realm: str) -> str:
        """A URL for looking into a realm's database."""
        return self.dsns[realm]


@pytest.fixture(scope="session")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with two realms, each on a database of its own. Without rate limits: tests are no honest devices."""
    dsns = {realm: postgres.create_database(realm) for realm in ("main", "other")}
    config = {
        "server": {"bcrypt_rounds": 4, "max_body": 8 * 1024 * 1024},
        "db": {"realms": dsns},
        "email": {"apps": {"default": "Test App"}},
    }
    process = start_server(tmp_path_factory.mktemp("server"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    yield Server(process.url, dsns, process.directory / "data", process=process)
    assert process.stop() == 0
    faults = [line for line in process.log.splitlines() if '"fault"' in line or "Traceback" in line]
    assert not faults, f"the server made mistakes: {faults[:3]}"
