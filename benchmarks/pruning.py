"""What pruning does to pushes, as in `.venv/bin/python benchmarks/pruning.py`.

A million tombstones and as many lines of history lie in one user's space. Phones of that user and of others push for
some seconds, first by themselves, then while `sync-server prune` is at work, on a real server and a PostgreSQL that
makes every commit durable. The times are of the push calls alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from connection import Connection
from phone import REALM, Phone
from samples import rows
from sync_server import logs
from sync_server.embedded import EmbeddedPostgres
from world import started

FILL = """
INSERT INTO sync.rows SELECT u.space_id, 'old', i::text, 'D', NULL, i, i, i, 1, c.id
FROM sync.users u JOIN sync.clients c ON c.user_id = u.id, generate_series(1, %(many)s) i WHERE u.email = %(email)s
"""
RECORD = """
INSERT INTO sync.history SELECT u.space_id, i, 1, u.id, c.id, 'old', i::text, 'D', i, NULL
FROM sync.users u JOIN sync.clients c ON c.user_id = u.id, generate_series(1, %(many)s) i WHERE u.email = %(email)s
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--many", type=int, default=1_000_000, help="tombstones, and lines of history")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    options = parser.parse_args()
    logs.configure()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = EmbeddedPostgres(directory / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        url = postgres.create_database("server")
        port, _ = stack.enter_context(started(directory, {REALM: url}))
        asyncio.run(_measure(directory, url, port, options.many, options.seconds))


async def _measure(directory: Path, url: str, port: int, many: int, seconds: float) -> None:
    phones = await _phones(port)
    await asyncio.to_thread(_fill, url, phones[0].email, many)
    await _push(phones, 2)  # the old stamps are behind everybody's cursor now
    print(f"by themselves   {_figures(await _push(phones, seconds))}", flush=True)
    config = directory / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "retention": {"tombstones": 1, "history": 1}}))
    begun = time.monotonic()
    prune = [sys.executable, "-m", "sync_server", "prune", "--config", str(config)]
    pruning = await asyncio.create_subprocess_exec(*prune)
    await asyncio.sleep(1)
    print(f"beside pruning  {_figures(await _push(phones, seconds))}", flush=True)
    early = " (before the measurement was over)" if pruning.returncode is not None else ""
    await pruning.wait()
    print(f"pruning took {time.monotonic() - begun:.0f} s{early}")


async def _phones(port: int) -> list[Phone]:
    """One of the user with the old space, and three of others; each has pulled."""
    phones = [Phone(Connection(port), f"user{number}@example.com") for number in range(4)]
    for phone in phones:
        await phone.register(new=True)
        await phone.sync([])
    return phones


def _fill(url: str, email: str, many: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (FILL, RECORD):
            connection.execute(statement.encode(), {"many": many, "email": email})
        connection.execute("UPDATE sync.spaces SET clock = greatest(clock, %s)", (many,))
        connection.execute("VACUUM ANALYZE")
    print(f"{many} tombstones are there", flush=True)


async def _push(phones: list[Phone], seconds: float) -> list[float]:
    """All phones sync again and again; the milliseconds of each push."""
    times: list[float] = []
    end = time.monotonic() + seconds

    async def live(phone: Phone) -> None:
        while time.monotonic() < end:
            changed = rows(10, f"{phone.email} {len(times)}", 1_700_000_000_000)
            await phone.refresh()
            await phone.send(phone.pull_request(changed))
            await phone.refresh()
            request = phone.push_request(changed, partial=False)
            begun = time.perf_counter()
            answer = await phone.send(request)
            times.append((time.perf_counter() - begun) * 1000)
            phone.take_cursor(answer)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(live(phone) for phone in phones))
    return times


def _figures(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"{len(times)} pushes: median {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, longest {max(times):.1f} ms"


if __name__ == "__main__":
    main()
