"""What the cases run on: one PostgreSQL that makes every commit durable, and server processes in front of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psycopg
import uvloop

import machine
from connection import Connection, WrongAnswer
from phone import REALM, Phone
from processes import Cpu, Processes
from sync_server import logs, migrations
from sync_server.embedded import EmbeddedPostgres

T = TypeVar("T")
_LISTENS = re.compile(r"listens on http://[^:]+:(\d+)")
_LIMIT = 600.0
"""Seconds that whatever is run may take, on a machine that is busy otherwise."""


class Server(NamedTuple):
    """A running `sync-server serve`."""

    port: int
    processes: Processes
    urls: Mapping[str, str]
    """Of the realms' databases."""
    prefix: str
    """Keeps the users of cases apart that share a server."""

    async def phone(self, user: str, *, new: bool = True, realm: str = REALM) -> Phone:
        """A device that is registered and logged in."""
        phone = Phone(Connection(self.port), f"{self.prefix}{user}@example.com", realm)
        await phone.register(new=new)
        return phone

    def cpu(self) -> Cpu:
        return self.processes.cpu()


class World:
    """Made once per run of the benchmark. `short`: cases use small sizes, and nobody looks at times."""

    def __init__(self, directory: Path, postgres: EmbeddedPostgres, *, short: bool, workers: int) -> None:
        self.directory = directory
        self.postgres = postgres
        self.short = short
        self.workers = workers
        self._numbers = itertools.count(1)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._stack = ExitStack()
        self._shared: Server | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Always in the same event loop, so that connections outlive a call."""
        try:
            return self._runner.run(asyncio.wait_for(work, _LIMIT))
        except TimeoutError:
            raise WrongAnswer(f"no end after {_LIMIT:.0f} s") from None

    def close(self) -> None:
        self._stack.close()
        self._runner.close()

    def size(self, full: int, short: int) -> int:
        return short if self.short else full

    def sizes(self, full: list[int], short: list[int]) -> list[int]:
        return short if self.short else full

    def database(self) -> str:
        """The URL of a fresh database with the server's tables."""
        url = self.postgres.create_database(f"bench{next(self._numbers)}")
        migrations.migrate(url)
        return url

    @contextmanager
    def server(self, realms: Mapping[str, str] | None = None, *, workers: int | None = None) -> Iterator[Server]:
        """A server with a database of its own, or with these realms' URLs. In short runs cases share the former.

        Raises WrongAnswer when it does not start, or ends with an error.
        """
        with ExitStack() as stack:
            if realms is not None or workers is not None or not self.short:
                yield self._start(stack, realms or {REALM: self.database()}, workers or self.workers)
                return
            if self._shared is None:
                self._shared = self._start(self._stack, {REALM: self.database()}, self.workers)
            yield self._shared._replace(prefix=f"case{next(self._numbers)}-")

    def _start(self, stack: ExitStack, realms: Mapping[str, str], workers: int) -> Server:
        home = self.directory / f"server{next(self._numbers)}"
        port, pid = stack.enter_context(started(home, realms, workers))
        return Server(port, Processes(pid, self.postgres.pid or 0), realms, "")

    def execute(self, url: str, *statements: str, **parameters: Any) -> None:
        """Run statements on a database, past the server."""
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode(), parameters or None)

    def value(self, url: str, query: str, **parameters: Any) -> Any:
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()[0][0]


@contextmanager
def made(parent: Path | None, *, short: bool = False, workers: int = 1) -> Iterator[tuple[World, dict[str, Any]]]:
    """A world in a directory of its own, and what there is to know of the machine, which is also printed."""
    logs.configure()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have turned off
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that what was started is stopped
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent)))
        document: dict[str, Any] = {"machine": machine.describe(directory), "workers": workers, "short": short}
        postgres = EmbeddedPostgres(directory / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        document["postgres"] = machine.settings(postgres)
        print(machine.lines(document["machine"], document["postgres"], workers), flush=True)
        world = World(directory, postgres, short=short, workers=workers)
        stack.callback(world.close)
        yield world, document


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@contextmanager
def started(home: Path, realms: Mapping[str, str], workers: int = 1) -> Iterator[tuple[int, int]]:
    """A server process in the directory `home`; its port and its process id."""
    home.mkdir(exist_ok=True)
    # registering is not measured, so it may be cheap
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": dict(realms)}}
    (home / "config.json").write_text(json.dumps(config))
    log = home / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "sync_server", "serve", "--config", str(home / "config.json"),
                "--host", "127.0.0.1", "--port", "0", "--workers", str(workers),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "RATE_LIMIT_DISABLE": "1"},  # all users come from one address
        )  # fmt: skip
    try:
        assert process.stdout
        for line in process.stdout:
            if found := _LISTENS.search(line):
                break
        else:
            raise WrongAnswer(f"the server does not start: {log.read_text()}")
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.communicate()
    if process.returncode != 0:
        raise WrongAnswer(f"the server ended with {process.returncode}: {log.read_text()[-2000:]}")
