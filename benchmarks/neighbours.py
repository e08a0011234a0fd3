"""What a realm notices of another one that hangs, is slow, or is busy.

    python benchmarks/neighbours.py [seconds per slice]

Ten quiet realms get 40 calls a second. In slices that alternate, so that other work on the machine meets them all alike,
they are alone; or 50 devices wait for one more realm whose database hangs (its PostgreSQL is stopped), or whose calls
wait for a lock; or one more realm gets 80 calls a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg

from processes import tree
from sync_server.embedded import EmbeddedPostgres

QUIET = [f"quiet{number}" for number in range(10)]
RATE = 40
ROUNDS = 4
DISTURBING = 50
"""Calls to the realm that hangs or is slow that are waiting at the same time."""


class Realms:
    """A server and a device in each realm."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._refresh: dict[str, str] = {}

    async def register(self, realm: str) -> int:
        who = {"name": "Ann", "email": f"{uuid4()}@example.com", "password": "secret", "clientId": str(uuid4())}
        status = (await self._client.post(f"/register/{realm}", json=who | {"newRegistration": True})).status_code
        if status == 200 and realm not in self._refresh:
            auth = httpx.BasicAuth(who["email"], who["password"])
            answer = await self._client.post(f"/login/{realm}", json={"clientId": who["clientId"]}, auth=auth)
            self._refresh[realm] = answer.json()["refreshToken"]
        return status

    async def call(self, realm: str) -> float:
        """Seconds that a call takes."""
        begun = time.perf_counter()
        body = {"refreshToken": self._refresh[realm]}
        answer = await self._client.post(f"/login/{realm}/refreshToken", json=body)
        assert answer.status_code == 200, answer.text
        return time.perf_counter() - begun


async def quiet_load(realms: Realms, seconds: float) -> list[float]:
    """Calls at a steady rate, whether the ones before have been answered or not."""
    calls = []
    for number in range(int(seconds * RATE)):
        calls.append(asyncio.create_task(realms.call(QUIET[number % len(QUIET)])))
        await asyncio.sleep(random.uniform(0.5, 1.5) / RATE)
    return await asyncio.gather(*calls)


@asynccontextmanager
async def devices(count: int, call: Callable[[], Any]) -> AsyncIterator[None]:
    """So many devices that call again and again."""

    async def device() -> None:
        while True:
            await call()
            await asyncio.sleep(1)  # less than the server asks for by Retry-After

    tasks = [asyncio.create_task(device()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def hanging(realms: Realms, postmaster: int) -> AsyncIterator[None]:
    processes = tree(postmaster)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with devices(DISTURBING, lambda: realms.register("hung")):
            yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def slow(realms: Realms, url: str) -> AsyncIterator[None]:
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE sync.users")
        async with devices(DISTURBING, lambda: realms.register("slow")):
            yield


@asynccontextmanager
async def alone() -> AsyncIterator[None]:
    yield


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


async def measure(url: str, slow_url: str, postmaster: int, seconds: float) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        realms = Realms(client)
        for realm in (*QUIET, "hung", "slow", "busy"):
            assert await realms.register(realm) == 200
        beside: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
            "alone": alone,
            "one hangs": lambda: hanging(realms, postmaster),
            "one is slow": lambda: slow(realms, slow_url),
            "one is busy": lambda: devices(80, lambda: realms.call("busy")),
        }
        times: dict[str, list[float]] = {name: [] for name in beside}
        for name, other in list(beside.items()) * ROUNDS:
            async with other():
                times[name] += await quiet_load(realms, seconds)
        for name, taken in times.items():
            print(
                f"{name:12} median {1000 * statistics.median(taken):6.1f} ms   p99 {1000 * p99(taken):6.1f} ms"
                f"   {p99(taken) / p99(times['alone']):.2f} times alone   {len(taken)} calls"
            )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
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
                [sys.executable, "-m", "sync_server.cli", "serve", "--host", "127.0.0.1", "--port", "0"],
                cwd=directory,
                env={**os.environ, "RATE_LIMIT_DISABLE": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert server.stdout is not None
            found = re.search(r"listens on (\S+)", server.stdout.readline())
            assert found is not None
            assert other.pid is not None
            asyncio.run(measure(found[1], urls["slow"], other.pid, seconds))
        finally:
            if server is not None:
                server.terminate()
                server.wait()
            other.stop()
            postgres.stop()


if __name__ == "__main__":
    main()
