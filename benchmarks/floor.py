"""What the statement of a pull of 10 changes costs, beside the least that one could do.

    python benchmarks/floor.py [rows in the space]

cancelSync without a sync to cancel; a pull that only reads, at its barest and as the page that is answered; a pull that only
begins a sync; a pull as it is, of a device with nothing pending and of any, and one that changes what must outlast a crash.
One connection runs them alternately, in blocks; printed are medians: until the answer is there, and PostgreSQL's processor
time. Linux only.
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
from sync_server.sync.pages import SMALL

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
    "INSERT INTO sync.clients (id, user_id, first_stamp, acknowledged) VALUES (%(id)s, %(id)s, 0, 0)",
    "INSERT INTO sync.syncs (client_id, first_number, sync_number) VALUES (%(id)s, 0, 0)",
    """INSERT INTO sync.rows SELECT %(id)s, 'todos', gen_random_uuid(), 'I', repeat('x', 300), i, i, i, 1, gen_random_uuid()
    FROM generate_series(1, %(count)s) i""",
    "VACUUM ANALYZE sync.rows",
)
_END = (
    "UPDATE sync.syncs SET sync_from = NULL, sync_to = NULL, sync_started = NULL, sync_digest = NULL, sync_token = NULL"
)


def statements() -> dict[str, Statement]:
    sync = queries("sync")
    begin = sync["begin_pull"].partition("\n)\n")[0] + ")\nSELECT 10 AS delivered FROM bounds"
    return {
        "cancelSync": Statement(sync["cancel_sync"]),
        "reads 10 rows": Statement(_BAREST),
        "reads a page": Statement(sync["page_of_small_rows"]),
        "begins a sync": Statement(begin),
        "pull": Statement(sync["begin_pull"]),
        "pull, with something pending": Statement(sync["begin_pull_with_pending"]),
        "pull, durably": Statement(sync["begin_pull_durably"]),
    }


def parameters(identity: uuid.UUID, count: int) -> dict[str, Any]:
    since = count - CHANGES
    return {
        **dict.fromkeys(("space_id", "user_id", "client_id"), identity),
        **dict.fromkeys(("from_", "after_stamp"), since),
        **dict.fromkeys(("session", "epoch", "sync_number", "first_stamp"), 0),
        **dict.fromkeys(("digest", "token_id"), "x"),
        "tablenames": [""],
        "rowguids": [""],
        "client_dates": [0],
        "to": count,
        "after_ordinal": 1,
        "rows": 1000,
        "bytes": 2**20,
        "small": SMALL,
        "anew": False,
    }


async def measure(url: str, given: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Of each statement: µs until its answer is there, and of the processor time that PostgreSQL took."""
    taken: dict[str, list[tuple[float, float]]] = {}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as connection:
        running = Running(connection, prepare=True)
        backend = connection.info.backend_pid
        each = statements()
        for _ in range(ROUNDS):
            for name, statement in each.items():
                seconds, used = list[float](), list[float]()
                for _ in range(BLOCK):
                    now = {**given, "durably": name == "pull, durably"}
                    before, begun = processor_time(backend), time.perf_counter()
                    found: list[dict[str, Any]] = await running.rows(dict, statement, now)
                    seconds.append(time.perf_counter() - begun)
                    used.append(processor_time(backend) - before)
                    check(name, found)
                    given = {**given, "sync_number": (await ended(connection))[0]}
                wall = statistics.median(seconds) * 1e6
                taken.setdefault(name, []).append((wall, statistics.median(used)))
    # the first rounds plan, and prepare
    return {
        name: (statistics.median(wall for wall, _ in rounds[3:]), statistics.median(cpu for _, cpu in rounds[3:]))
        for name, rounds in taken.items()
    }


async def ended(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> tuple[Any, ...]:
    """End the sync under way, if any; its number."""
    cursor = await connection.execute(_END + " RETURNING sync_number")
    [found] = await cursor.fetchall()
    return found


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
            print(f"{name:30} {wall:6.0f} µs, PostgreSQL {cpu:5.0f} µs")


if __name__ == "__main__":
    main()
