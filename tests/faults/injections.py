"""Everything that is injected: each is a block in which something is broken, and mended at its end.

Injections of one layer exclude each other; those of different layers may happen at the same time.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from faults.world import BACKENDS, World, send
from proxies import BLACK_HOLE, FREEZE, PASS, REFUSE, Mode, Proxy, cut_answer, cut_request, delay

Begin = Callable[[World, random.Random], AbstractContextManager[None]]


@dataclass(frozen=True)
class Injection:
    name: str
    layer: str
    seconds: float
    """How long it lasts when it is injected alone; up to twice that in a storm."""
    begin: Begin
    mending: float
    """Seconds that its end takes, about."""
    needs: str = ""
    """What a world may lack: "clock", "disk" or "workers"."""


ALL: list[Injection] = []
_MENDING = {"server": 3.0, "database": 1.0, "clock": 1.0}


def injection(
    name: str, layer: str, seconds: float = 1.0, needs: str = ""
) -> Callable[[Callable[..., Iterator[None]]], Begin]:
    def add(function: Callable[..., Iterator[None]]) -> Begin:
        begin: Begin = contextmanager(function)
        ALL.append(Injection(name, layer, seconds, begin, _MENDING.get(layer, 0.0), needs))
        return begin

    return add


# Between the devices and the server: about every other call.


@contextmanager
def fates(proxy: Proxy, chance: random.Random, share: float, fate: Callable[[], Mode]) -> Iterator[None]:
    proxy.fate = lambda: fate() if chance.random() < share else PASS
    try:
        yield
    finally:
        proxy.fate = lambda: PASS


@contextmanager
def all_of(proxy: Proxy, mode: Mode) -> Iterator[None]:
    proxy.mode = mode
    try:
        yield
    finally:
        proxy.mode = PASS


@injection("requests lost", "network", 0.8)
def requests_lost(world: World, chance: random.Random) -> Iterator[None]:
    with fates(world.net, chance, 0.5, cut_request):
        yield


@injection("requests cut", "network", 0.8)
def requests_cut(world: World, chance: random.Random) -> Iterator[None]:
    with fates(world.net, chance, 0.5, lambda: cut_request(chance.randrange(1, 1500))):
        yield


@injection("answers lost", "network", 0.8)
def answers_lost(world: World, chance: random.Random) -> Iterator[None]:
    with fates(world.net, chance, 0.5, cut_answer):
        yield


@injection("answers cut in the middle", "network", 0.8)
def answers_cut(world: World, chance: random.Random) -> Iterator[None]:
    with fates(world.net, chance, 0.5, lambda: cut_answer(chance.randrange(1, 1500))):
        yield


@injection("calls delayed", "network", 0.8)
def calls_delayed(world: World, chance: random.Random) -> Iterator[None]:
    with fates(world.net, chance, 0.5, lambda: delay(chance.uniform(0.02, 0.3))):
        yield


@injection("network is a black hole", "network", 0.8)
def network_swallows(world: World, _: random.Random) -> Iterator[None]:
    with world.silence(), all_of(world.net, BLACK_HOLE):
        yield


@injection("network freezes", "network", 0.8)
def network_freezes(world: World, _: random.Random) -> Iterator[None]:
    with world.silence(), all_of(world.net, FREEZE):
        yield


# The server.


@injection("server killed (SIGKILL)", "server", 0.3)
def server_killed(world: World, _: random.Random) -> Iterator[None]:
    with world.stopped(signal.SIGKILL):
        yield


@injection("server stopped (SIGTERM)", "server", 0.3)
def server_stopped(world: World, _: random.Random) -> Iterator[None]:
    with world.stopped(signal.SIGTERM) as code:
        assert code == 0, f"the server ended with {code}"
        yield


@injection("server hangs (SIGSTOP)", "server")
def server_hangs(world: World, _: random.Random) -> Iterator[None]:
    pids = world.server_processes()
    with world.silence(), world.outage():
        send(signal.SIGSTOP, *pids)
        try:
            yield
        finally:
            send(signal.SIGCONT, *reversed(pids))


@injection("one of the server's workers killed (SIGKILL)", "server", 1.0, needs="workers")
def worker_killed(world: World, chance: random.Random) -> Iterator[None]:
    """The others go on, and the server itself puts another one in its place."""
    with world.outage():  # for whoever it was serving
        if workers := world.server_workers():
            send(signal.SIGKILL, chance.choice(workers))
        time.sleep(0.2)
    yield


# PostgreSQL.


@injection("PostgreSQL killed (SIGKILL, all processes)", "database", 0.3)
def postgres_killed(world: World, _: random.Random) -> Iterator[None]:
    postmaster, backends = world.postgres.pid, world.backends()
    assert postmaster is not None
    send(signal.SIGKILL, postmaster, *backends)
    try:
        yield
    finally:
        world.start_postgres()


@injection("PostgreSQL's backends killed (SIGKILL)", "database", 0.5)
def backends_killed(world: World, chance: random.Random) -> Iterator[None]:
    with repeatedly(0.4, lambda: send(signal.SIGKILL, *chance.sample(world.backends(), 1))):
        yield


@injection("PostgreSQL restarted", "database", 0.3)
def postgres_restarted(world: World, _: random.Random) -> Iterator[None]:
    world.postgres.stop()
    try:
        yield
    finally:
        world.start_postgres()


@injection("PostgreSQL hangs (SIGSTOP)", "database", 3.0)
def postgres_hangs(world: World, _: random.Random) -> Iterator[None]:
    postmaster = world.postgres.pid
    assert postmaster is not None
    stopped = [postmaster, *world.backends()]
    send(signal.SIGSTOP, *stopped)
    try:
        yield
    finally:
        send(signal.SIGCONT, *stopped)


@injection("connections terminated", "database")
def connections_terminated(world: World, chance: random.Random) -> Iterator[None]:
    """One that is at work, every few milliseconds: in the middle of statements and commits."""
    find = "SELECT pid FROM pg_stat_activity WHERE usename = 'sync_server' AND state <> 'idle'"
    with ExitStack() as stack:
        connection = stack.enter_context(world.superuser())

        def terminate() -> None:
            if busy := connection.execute(find).fetchall():
                connection.execute("SELECT pg_terminate_backend(%s)", chance.choice(busy))

        stack.enter_context(repeatedly(0.02, terminate))
        yield


@injection("disk full", "database", 3.0, needs="disk")
def disk_full(world: World, _: random.Random) -> Iterator[None]:
    """Nothing can be added to tables; when the log needs a new file, PostgreSQL gives up and cannot start again either."""
    assert world.disk is not None
    with ExitStack() as stack:
        connection = stack.enter_context(world.superuser())
        with world.disk.full(), repeatedly(0.5, lambda: connection.execute("SELECT pg_switch_wal()")):
            yield
        if not world.postgres.running:
            world.start_postgres()


# Between the server and the database of realm main.


@injection("database hangs", "link", 11.0)
def database_hangs(world: World, _: random.Random) -> Iterator[None]:
    """Connections are accepted, nothing is answered, for longer than any request may wait; then everything goes on."""
    with all_of(world.link, FREEZE):
        yield


@injection("database is a black hole", "link", 3.0)
def database_swallows(world: World, _: random.Random) -> Iterator[None]:
    with all_of(world.link, BLACK_HOLE):
        yield


@injection("database refuses connections", "link")
def database_refuses(world: World, _: random.Random) -> Iterator[None]:
    with all_of(world.link, REFUSE):
        yield


@injection("database connections cut", "link")
def database_connections_cut(world: World, _: random.Random) -> Iterator[None]:
    with repeatedly(0.1, world.link.cut):
        yield


@injection("database answers cut in the middle", "link")
def database_answers_cut(world: World, chance: random.Random) -> Iterator[None]:
    """The answers to commits among them: the server cannot know whether it happened."""
    with fates(world.link, chance, 0.7, lambda: cut_answer(chance.randrange(500, 8000))):
        world.link.cut()  # those that are open would never be cut
        yield


@injection("database is slow", "link", 2.0)
def database_is_slow(world: World, chance: random.Random) -> Iterator[None]:
    """Each connection is slow in its own way, so that transactions overtake each other."""
    with fates(world.link, chance, 0.7, lambda: delay(chance.uniform(0.02, 0.2))):
        world.link.cut()
        yield
    world.link.cut()


# What the server needs of the database.


@injection("pool exhausted", "pool", 3.0)
def pool_exhausted(world: World, _: random.Random) -> Iterator[None]:
    """Every space of the realm is locked, so that every push waits and holds a connection."""
    with ExitStack() as stack:
        for connection in connections(world, stack, "main", 1):
            with suppress(psycopg.OperationalError):  # another injection may end it
                connection.autocommit = False
                connection.execute("SELECT 1 FROM sync.spaces FOR UPDATE")
        yield


@injection("PostgreSQL out of connections", "pool")
def no_connections_left(world: World, _: random.Random) -> Iterator[None]:
    with ExitStack() as stack:
        connections(world, stack, "other", BACKENDS)
        world.link.cut()
        yield


def connections(world: World, stack: ExitStack, database: str, number: int) -> list[psycopg.Connection[Any]]:
    """As many connections as can be had, up to the number, until the end of the stack."""
    found: list[psycopg.Connection[Any]] = []
    with suppress(psycopg.OperationalError):  # that was the last one, or PostgreSQL is down, too
        for _ in range(number):
            url = world.urls[database]
            found.append(psycopg.connect(url, autocommit=True, connect_timeout=30, application_name="faults"))
            stack.callback(found[-1].close)
    return found


# Mail.


@injection("mail server refuses", "mail")
def mail_refused(world: World, _: random.Random) -> Iterator[None]:
    world.office.close()
    try:
        yield
    finally:
        world.office.open()


@injection("mail server hangs", "mail")
def mail_hangs(world: World, _: random.Random) -> Iterator[None]:
    world.office.silent = True
    try:
        yield
    finally:
        world.office.silent = False


# The server's clock.


@injection("clock an hour back", "clock", 2.5, needs="clock")
def clock_back(world: World, _: random.Random) -> Iterator[None]:
    with clock_at(world, -3600):
        yield


@injection("clock ten minutes ahead, then back", "clock", 2.5, needs="clock")
def clock_ahead(world: World, _: random.Random) -> Iterator[None]:
    with clock_at(world, 600):
        yield


@contextmanager
def clock_at(world: World, seconds: int) -> Iterator[None]:
    assert world.clock is not None, "libfaketime is not there"
    world.clock.set(seconds)
    try:
        yield
    finally:
        world.clock.set(0)
        time.sleep(1.1)  # until it is read


@contextmanager
def repeatedly(pause: float, work: Callable[[], object]) -> Iterator[None]:
    """Do it again and again, in a thread; it may fail when other things are broken too."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(pause):
            with suppress(psycopg.Error, ValueError):
                work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
