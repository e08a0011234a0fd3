"""What faults are injected into: a PostgreSQL with fsync, a server process, a mail server, and proxies between them.

devices -- net --> server -- link --> PostgreSQL (realm main)
                   ^ |  |`----------> PostgreSQL (realm other, a database of its own)
bystander ---------' |  `-----------> another PostgreSQL, which is always well (realm bystander)
                     `--------------> mail server
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

import clusters
from conftest import Process, start_server
from faults import clocks
from faults.disks import Disk
from faults.waiting import until
from mail.post_office import Loop, PostOffice
from proxies import Proxy, address_of, through
from sync_server.embedded import EmbeddedPostgres

POOL = 3
"""Connections that a process of the server may have: fewer than there are devices."""
BYSTANDER = "bystander"
"""The realm whose database is always well."""
BACKENDS = 40
"""Connections that PostgreSQL takes."""
DATABASE_TIMEOUT = 2.0
GRACE = 3.0
WAIT_LIMIT = 16.0
"""Seconds in which every request must have been answered, whatever its database does: a call has two transactions or
three, and the server gives each DATABASE_TIMEOUT and six seconds at most. One that was given up is the last."""
HANG_LIMIT = 9.0
"""The same where the database hangs all the time."""
START_LIMIT = 60.0
_EVENT = re.compile(r'"event": ?"(\w+)"')
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": str(BACKENDS)}


@dataclass
class Usage:
    """What the server and its database hold."""

    rss: float
    """MB of the server's processes."""
    files: int
    connections: int


class World:
    """Everything in `directory`, running as long as the block lasts. `disk`: a small one for PostgreSQL's data.

    `bystander`: whether there is a realm on a PostgreSQL of its own. Without one, the server ends when it is started while
    the only PostgreSQL is away.
    """

    def __init__(self, directory: Path, disk: Disk | None = None, *, bystander: bool = True) -> None:
        self.directory, self.disk = directory, disk
        directory.mkdir(exist_ok=True)
        place = disk.directory if disk else directory
        self.postgres = EmbeddedPostgres(clusters.put(place / "postgres"), DURABLE | (disk.settings if disk else {}))
        self.well = EmbeddedPostgres(clusters.put(directory / "well"), DURABLE) if bystander else None
        self.clock = clocks.find(directory)
        self.silences: list[Silence] = []
        self.outages: list[Silence] = []
        self.workers = 1
        self._stack = ExitStack()
        self.process: Process
        self.urls: dict[str, str] = {}
        self._lives = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.postgres.stop)
            self.postgres.start()
            urls = self.urls = {name: self.postgres.create_database(name) for name in ("main", "other")}
            self.link = stack.enter_context(Proxy(address_of(urls["main"])))
            self.office = PostOffice(stack.enter_context(Loop()))
            self.office.open()
            stack.callback(self.office.close)
            self.realms = {"main": through(self.link, urls["main"]), "other": urls["other"]}
            if self.well is not None:
                stack.callback(self.well.stop)
                self.well.start()
                self.realms[BYSTANDER] = self.well.create_database(BYSTANDER)
            self._start()
            stack.callback(self._end)
            self.net = stack.enter_context(Proxy(("127.0.0.1", self.process.port)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def config(self) -> dict[str, Any]:
        return {
            "server": {
                "bcrypt_rounds": 4,
                "grace": GRACE,
                "body_timeout": 5,
                "trusted_proxies": ["127.0.0.1"],
                "workers": self.workers,
            },
            "db": {
                "realms": {name: {"url": url, "history": "full"} for name, url in self.realms.items()},
                "max_connections": POOL * self.workers,
                "timeout": DATABASE_TIMEOUT,
            },
            "email": {"smtp": "127.0.0.1", "port": self.office.port, "security": "plain", "timeout": 2},
        }

    def lacks(self, need: str) -> str | None:
        """Why the world has no such thing; None when it has."""
        if need == "clock" and self.clock is None:
            return "libfaketime is not there and cannot be fetched"
        if need == "disk" and self.disk is None:
            return "PostgreSQL's data is not on a disk of its own"
        if need == "workers" and self.workers == 1:
            return "the server is one process"
        return None

    # The server.

    def _start(self) -> None:
        port = self.process.port if self._lives else 0
        environment = self.clock.environment if self.clock else None
        self._lives += 1
        self.process = start_server(
            self.directory / "server", self.config, "--port", str(port), environment=environment
        )

    def _end(self) -> None:
        if self.process.process.poll() is None:  # else it was not started again, which has been said
            self._stop(signal.SIGKILL)

    def _stop(self, number: signal.Signals) -> int:
        """As a service manager does: SIGKILL goes to every process, other signals to the first one."""
        processes = self.server_processes()
        if number == signal.SIGKILL:
            send(number, *processes[1:])
        code = self.process.stop(number, timeout=GRACE + 15)
        until(lambda: not any(map(is_running, processes)), GRACE + 15, "a process of the server outlives it")
        return code

    def serve_with(self, workers: int) -> None:
        """Have so many processes serve."""
        if workers != self.workers:
            self._stop(signal.SIGTERM)
            self.workers = workers
            self.start_again()

    def server_processes(self) -> list[int]:
        """The server's processes, the one first that started the others."""
        first = self.process.process.pid
        return [first, *(pid for pid in processes() if parent_of(pid) == first)]

    def server_workers(self) -> list[int]:
        """Those that serve, where there are several."""
        return [pid for pid in self.server_processes()[1:] if b"spawn_main" in command_of(pid)]

    def start_again(self) -> None:
        """Start the server until it stays, as a service manager does: it ends when no realm's database is there."""
        end = time.monotonic() + START_LIMIT
        while True:
            try:
                self._start()
            except AssertionError:  # it said why, and ended
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
            else:
                until(self._answers, START_LIMIT, "the server listens, but does not answer")
                return

    def _answers(self) -> bool:
        """Workers need a while after the socket is open, in which connections wait."""
        with suppress(httpx.TransportError):
            return httpx.get(self.process.url, timeout=5, trust_env=False).status_code == 200
        return False

    @contextmanager
    def stopped(self, number: signal.Signals) -> Iterator[int]:
        """End the server with this signal; its exit code. After the block it is started again."""
        with self.outage():
            code = self._stop(number)
            try:
                yield code
            finally:
                self.start_again()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """In this block nobody can expect an answer of the server."""
        outage = Silence(time.monotonic())
        self.outages.append(outage)
        try:
            yield
        finally:
            outage.end = time.monotonic()

    @contextmanager
    def silence(self) -> Iterator[None]:
        """In this block it is not the server's fault when a request waits."""
        silence = Silence(time.monotonic())
        self.silences.append(silence)
        try:
            yield
        finally:
            silence.end = time.monotonic()

    def away(self, begin: float, end: float) -> float:
        """For how many of these seconds the server, or the way to it, was stopped, or the server was starting."""
        times = sorted((max(begin, each.begin), min(end, each.end)) for each in [*self.silences, *self.outages])
        total, reached = 0.0, begin
        for since, until_ in times:
            total += max(0.0, until_ - max(since, reached))
            reached = max(reached, until_)
        return total

    def log_faults(self) -> list[str]:
        """What must never stand in the server's log."""
        words = ('"fault"', "Traceback", "Exception")
        return [line for line in self.process.log.splitlines() if any(word in line for word in words)]

    def events(self) -> Counter[str]:
        """What the server has logged, by its name."""
        return Counter(_EVENT.findall(self.process.log))

    # PostgreSQL.

    def start_postgres(self) -> None:
        """Start it again, as its service manager does."""
        self.postgres.start()
        self.urls = {name: self.postgres.url(name) for name in self.urls}
        self.link.targets[:] = [address_of(self.urls["main"])]

    def backends(self) -> list[int]:
        """PostgreSQL's processes, the postmaster not among them."""
        postmaster = self.postgres.pid
        return [pid for pid in processes() if parent_of(pid) == postmaster] if postmaster else []

    @contextmanager
    def superuser(self, database: str = "main") -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A connection that does not go through the link, as soon as PostgreSQL is there."""
        with self._connect(self.urls[database].replace("sync_server@", "postgres@", 1)) as connection:
            yield connection

    @staticmethod
    def _connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
        end = time.monotonic() + START_LIMIT
        while True:
            try:
                return psycopg.connect(url, autocommit=True, connect_timeout=30, application_name="faults")
            except psycopg.OperationalError:  # it may be recovering from another fault
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    # What it holds.

    def usage(self) -> Usage:
        pids = self.server_processes()
        rss = sum(map(memory_of, pids))
        with self.superuser() as connection:
            [(connections,)] = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sync_server'"
            ).fetchall()
        return Usage(rss, sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids), connections)

    def nothing_is_under_way(self) -> bool:
        """No transaction is open and nobody is connected to the server."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sync_server' AND state <> 'idle'"
        with self.superuser() as connection:
            [(busy,)] = connection.execute(query).fetchall()
        return not busy and not self.net.connections

    def comes_to_rest(self, seconds: float = 20.0) -> None:
        until(self.nothing_is_under_way, seconds, "transactions or connections stay open")


@dataclass
class Silence:
    """A time in which the way to the server, or the server, was stopped."""

    begin: float
    end: float = field(default=float("inf"))

    def covers(self, begin: float, end: float) -> float:
        """How many of these seconds."""
        return max(0.0, min(end, self.end) - max(begin, self.begin))


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None


def command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def is_running(pid: int) -> bool:
    """A zombie, whose end nobody has asked for, has no command."""
    return bool(command_of(pid))


def memory_of(pid: int) -> float:
    """MB that a process has for itself, its share of what it has with others included."""
    sizes = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in sizes.splitlines() if line.startswith("Pss:")) / 1024


def send(number: signal.Signals, *pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
