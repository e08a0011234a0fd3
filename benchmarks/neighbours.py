"""What the devices of quiet realms notice of another realm that hangs, is slow, or is busy.

    python benchmarks/neighbours.py [seconds per slice]

Forty devices in ten quiet realms make a call each second. In slices that alternate, so that other work on the machine
meets them all alike, they are alone; or one more realm has fifty devices whose database hangs (its PostgreSQL is
stopped) or whose calls wait for a lock; or one more realm has eighty devices. These have a process of their own.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import psycopg

from connection import Connection, WrongAnswer
from phone import Phone
from processes import tree
from sync_server.embedded import EmbeddedPostgres

QUIET = [f"quiet{number}" for number in range(10)]
PER_REALM = 4
ROUNDS = 6
WAITING = 50
"""Devices of the realm that hangs, and of the one that is slow."""
BUSY = 80


async def registered(port: int, realm: str, count: int) -> list[Phone]:
    phones = [Phone(Connection(port), f"{uuid.uuid4()}@example.com", realm) for _ in range(count)]
    for phone in phones:
        await phone.register(new=True)
    return phones


async def calls_each_second(phone: Phone, end: float) -> list[float]:
    """Seconds that each call took."""
    taken = []
    await asyncio.sleep(random.random())
    while time.monotonic() < end:
        begun = time.monotonic()
        await phone.refresh()
        taken.append(time.monotonic() - begun)
        await asyncio.sleep(max(0.0, begun + random.uniform(0.5, 1.5) - time.monotonic()))
    return taken


async def goes_on_calling(phone: Phone) -> None:
    """Whatever the answers are; a second between two calls is less than the server asks for by Retry-After."""
    await asyncio.sleep(random.random())
    while True:
        with suppress(WrongAnswer):
            await phone.refresh()
        await asyncio.sleep(random.uniform(0.5, 1.5))


def disturb(pipe: Pipe, port: int, realm: str, count: int) -> None:
    """A process: the devices of a realm, that call between two words from the pipe."""

    async def work() -> None:
        phones = await registered(port, realm, count)
        while True:
            pipe.send("ready")
            await asyncio.to_thread(pipe.recv)
            tasks = [asyncio.create_task(goes_on_calling(phone)) for phone in phones]
            await asyncio.to_thread(pipe.recv)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for phone in phones:
                phone.hang_up()

    with suppress(EOFError, KeyboardInterrupt):
        asyncio.run(work())


@contextmanager
def devices(port: int, realm: str, count: int) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """A context in which the devices of a realm call."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=disturb, args=(theirs, port, realm, count), daemon=True)
    process.start()
    theirs.close()

    @contextmanager
    def calling() -> Iterator[None]:
        ours.recv()
        ours.send("go")
        try:
            yield
        finally:
            ours.send("rest")

    try:
        yield calling
    finally:
        process.terminate()
        process.join()


@contextmanager
def stopped(postmaster: int) -> Iterator[None]:
    processes = tree(postmaster)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def locked(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE sync.clients")
        yield


async def measure(port: int, slow_url: str, postmaster: int, seconds: float) -> dict[str, list[float]]:
    quiet = [phone for realm in QUIET for phone in await registered(port, realm, PER_REALM)]
    times: dict[str, list[float]] = {"alone": [], "one hangs": [], "one is slow": [], "one is busy": []}
    with ExitStack() as stack:
        hung = stack.enter_context(devices(port, "hung", WAITING))
        slow = stack.enter_context(devices(port, "slow", WAITING))
        busy = stack.enter_context(devices(port, "busy", BUSY))
        beside: dict[str, list[AbstractContextManager[None]]] = {}
        for _ in range(ROUNDS):
            beside = {
                "alone": [nullcontext()],
                "one hangs": [hung(), stopped(postmaster)],
                "one is slow": [slow(), locked(slow_url)],
                "one is busy": [busy()],
            }
            for name, contexts in beside.items():
                with ExitStack() as others:
                    for other in contexts:
                        await asyncio.to_thread(others.enter_context, other)
                    end = time.monotonic() + seconds
                    for taken in await asyncio.gather(*(calls_each_second(phone, end) for phone in quiet)):
                        times[name] += taken
    return times


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def show(times: dict[str, list[float]]) -> None:
    for name, taken in times.items():
        print(
            f"{name:12} median {1000 * statistics.median(taken):6.1f} ms   p99 {1000 * p99(taken):6.1f} ms"
            f"   {p99(taken) / p99(times['alone']):.2f} times alone   {len(taken)} calls"
        )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        postgres, other = EmbeddedPostgres(directory / "a" / "data"), EmbeddedPostgres(directory / "b" / "data")
        server = None
        try:
            postgres.start()
            other.start()
            urls = {realm: postgres.create_database(realm) for realm in (*QUIET, "slow", "busy")}
            config = {
                "server": {"bcrypt_rounds": 4},
                "db": {"timeout": 5, "realms": urls | {"hung": other.create_database("hung")}},
            }
            (directory / "config.json").write_text(json.dumps(config))
            server = subprocess.Popen(
                [sys.executable, "-m", "sync_server", "serve", "--host", "127.0.0.1", "--port", "0"],
                cwd=directory,
                env={**os.environ, "RATE_LIMIT_DISABLE": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert server.stdout is not None
            found = re.search(r"listens on \S+:(\d+)", server.stdout.readline())
            assert found is not None
            assert other.pid is not None
            show(asyncio.run(measure(int(found[1]), urls["slow"], other.pid, seconds)))
        finally:
            if server is not None:
                server.terminate()
                server.wait()
            other.stop()
            postgres.stop()


if __name__ == "__main__":
    main()
