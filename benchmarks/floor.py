"""What the statement of a pull of 10 changes costs, beside the least that one could do.

    python benchmarks/floor.py [rows in the space]

cancelSync without a sync to cancel; a pull that only reads, at its barest and as the page that is answered; a pull as it
is, without and with the wait for the disk at its commit. One connection runs them alternately, in blocks; printed are
medians: until the answer is there, and PostgreSQL's processor time. Linux only.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

import world
from connection import WrongAnswer
from sync_server.database import queries
from sync_server.statements import Running, Statement

ROUNDS = 15
BLOCK = 40
CHANGES = 10
_BAREST = """
SELECT operation, rowguid, tablename, client_date, stamp, client_id, row_data FROM sync.rows
WHERE space_id = %(space_id)s AND stamp > %(from_)s ORDER BY stamp, ordinal LIMIT %(rows)s
"""
_FILL = (
    "INSERT INTO sync.spaces (id, clock) VALUES (%(id)s, %(count)s)",
    "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash) VALUES (%(id)s, %(id)s, '', '', '', '')",
    "INSERT INTO sync.clients (id, user_id, first_stamp) VALUES (%(id)s, %(id)s, 0)",
    """INSERT INTO sync.rows SELECT %(id)s, 'todos', gen_random_uuid(), 'I', repeat('x', 300), i, i, i, 1, gen_random_uuid()
    FROM generate_series(1, %(count)s) i""",
    "VACUUM ANALYZE sync.rows",
)


def statements() -> dict[str, Statement]:
    begin = queries("sync")["begin_pull"]
    wait, end = (
        "RETURNING s.id AS space_id",
        "RETURNING set_config('synchronous_commit', 'off', true), s.id AS space_id",
    )
    return {
        "cancelSync": Statement(queries("sync")["cancel_sync"]),
        "reads 10 rows": Statement(_BAREST),
        "reads a page": Statement(queries("sync")["page_of_pull"]),
        "pull, no wait for the disk": Statement(begin.replace(wait, end)),
        "pull": Statement(begin),
    }


def parameters(identity: uuid.UUID, count: int) -> dict[str, Any]:
    since = count - CHANGES
    return {
        **dict.fromkeys(("space_id", "user_id", "client_id"), identity),
        **dict.fromkeys(("from_", "after_stamp"), since),
        **dict.fromkeys(("session", "epoch", "sync_number", "takeover", "first_stamp"), 0),
        **dict.fromkeys(("digest", "token_id"), "x"),
        **{name: list[Any]() for name in ("tablenames", "rowguids", "client_dates")},
        "to": count,
        "after_ordinal": 1,
        "rows": 1000,
        "bytes": 2**20,
        "most": 1000,
    }


async def measure(url: str, given: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Of each statement: µs until its answer is there, and of the processor time that PostgreSQL took."""
    taken: dict[str, list[tuple[float, float]]] = {}
    pulls = 0
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as connection:
        running = Running(connection, prepare=True)
        backend = connection.info.backend_pid
        each = statements()
        for _ in range(ROUNDS):
            for name, statement in each.items():
                before, seconds = processor_time(backend), list[float]()
                for _ in range(BLOCK):
                    now = {**given, "sync_number": pulls}  # a pull takes the place of the one that its token tells of
                    begun = time.perf_counter()
                    found: list[dict[str, Any]] = await running.rows(dict, statement, now)
                    seconds.append(time.perf_counter() - begun)
                    check(name, found)
                    pulls += name.startswith("pull")
                used = (processor_time(backend) - before) / BLOCK
                taken.setdefault(name, []).append((statistics.median(seconds) * 1e6, used))
    # the first rounds plan, and prepare
    return {
        name: (statistics.median(wall for wall, _ in rounds[3:]), statistics.median(cpu for _, cpu in rounds[3:]))
        for name, rounds in taken.items()
    }


def processor_time(pid: int) -> float:
    """Microseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


def check(name: str, found: list[dict[str, Any]]) -> None:
    """Raises WrongAnswer."""
    rows = 1 if name == "cancelSync" else CHANGES
    if found[0].get("delivered", len(found)) != rows:
        raise WrongAnswer(f"{name}: {found}")


def main() -> None:
    count, identity = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, uuid.uuid4()
    with world.made(None) as (made, _):
        url = made.database()
        for statement in _FILL:
            made.execute(url, statement, **({"id": identity, "count": count} if "%(" in statement else {}))
        for name, (wall, cpu) in asyncio.run(measure(url, parameters(identity, count))).items():
            print(f"{name:28} {wall:6.0f} µs, PostgreSQL {cpu:5.0f} µs")


if __name__ == "__main__":
    main()
