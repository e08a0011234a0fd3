"""What PostgreSQL alone takes: the same rows in the same tables, in as few statements and commits as can be."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any

import psycopg
import uvloop
from psycopg_pool import AsyncConnectionPool

from load import Sizes, Stopwatch, Timed
from phone import WrongAnswer
from processes import Processes
from samples import TABLE, Row, edited, rows
from sync_server import migrations

CONNECTIONS = 20
"""As many as the server takes by default."""

_STORE = f"""
WITH change AS (
    SELECT * FROM unnest(%(guids)s::text[], %(operations)s::text[], %(dates)s::bigint[], %(data)s::text[])
        WITH ORDINALITY AS change (rowguid, operation, client_date, row_data, ordinal)
), stored AS (
    INSERT INTO sync.rows
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT %(space)s, '{TABLE}', rowguid, operation, row_data, client_date, client_date, %(stamp)s, ordinal, %(client)s
    FROM change
    ON CONFLICT (space_id, tablename, rowguid) DO UPDATE
    SET operation = excluded.operation, row_data = excluded.row_data, client_date = excluded.client_date,
        rank = excluded.rank, stamp = excluded.stamp, ordinal = excluded.ordinal, client_id = excluded.client_id
), recorded AS (
    INSERT INTO sync.history
        (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date)
    SELECT %(space)s, %(stamp)s, ordinal, %(space)s, %(client)s, '{TABLE}', rowguid, operation, client_date
    FROM change
)
UPDATE sync.spaces SET clock = %(stamp)s WHERE id = %(space)s
"""
_READ = """
SELECT operation, rowguid, tablename, client_date, stamp, client_id::text, row_data
FROM sync.rows
WHERE space_id = %(space)s AND stamp > %(after)s
ORDER BY stamp, ordinal
"""
_NEW_SPACE = (
    "INSERT INTO sync.spaces (id) VALUES (%(space)s)",
    """INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
    VALUES (%(space)s, %(space)s, %(space)s::text, %(space)s::text, '', '')""",
    "INSERT INTO sync.clients (id, user_id) VALUES (%(space)s, %(space)s)",
)
_LOOK_UP = "SELECT refresh_id, refresh_issued, refresh_previous, sync_number FROM sync.clients WHERE id = %(client)s"


class Space:
    """A user's rows; the user, the space and the device have one id."""

    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self.stamp = 0

    def store(self, changes: Sequence[Row]) -> dict[str, Any]:
        self.stamp += 1
        return {
            **self.key,
            "stamp": self.stamp,
            "guids": [row.guid for row in changes],
            "operations": [row.operation for row in changes],
            "dates": [row.date for row in changes],
            "data": [row.data for row in changes],
        }

    def read(self, after: int) -> dict[str, Any]:
        return {**self.key, "after": after}

    @property
    def key(self) -> dict[str, Any]:
        return {"space": self.id, "client": self.id}


class Floor:
    """The same measurements as Load, by the same names."""

    def __init__(self, url: str, processes: Processes, sizes: Sizes) -> None:
        migrations.migrate(url)
        self._processes = processes
        self._sizes = sizes
        self._connection = psycopg.connect(url, autocommit=True)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._pool = AsyncConnectionPool(url, min_size=CONNECTIONS, open=False, kwargs={"autocommit": True})

    def prepare(self) -> None:
        self._pusher, self._owner = self._space(), self._space()
        self._big = rows(self._sizes.first_pull, "big", _now())
        for start in range(0, len(self._big), 1000):
            self._connection.execute(_STORE, self._owner.store(self._big[start : start + 1000]))
        self._crowd = [self._space() for _ in range(self._sizes.users)]
        self._runner.run(self._pool.open(wait=True))

    def close(self) -> None:
        self._runner.run(self._pool.close())
        self._runner.close()
        self._connection.close()

    def push(self, run: str, part: int) -> Timed:
        pushed = rows(self._sizes.pushed, f"push {run}", _now())
        watch = Stopwatch(self._processes)
        for start in range(0, len(pushed), part):
            parameters = self._pusher.store(pushed[start : start + part])
            with watch.running():
                self._connection.execute(_STORE, parameters, prepare=True)
        return watch.read(1)

    def first_pull(self, _run: str) -> Timed:
        return self._timed_read(Stopwatch(self._processes), 0, self._big).read(1)

    def last_changes(self, run: str) -> Timed:
        watch = Stopwatch(self._processes)
        for repeat in range(self._sizes.repeats):
            count = self._sizes.changes
            changed = edited(self._big[:count], f"changes {run} {repeat}", _now())
            self._connection.execute(_STORE, self._owner.store(changed))
            self._big = self._big[count:] + changed
            self._timed_read(watch, self._owner.stamp - 1, changed)
        return watch.read(self._sizes.repeats)

    def syncs(self, run: str) -> Timed:
        count, rounds = self._sizes.rows_per_sync, self._sizes.rounds
        work = [
            [space.store(rows(count, f"sync {run} {number} {round_}", _now())) for round_ in range(rounds)]
            for number, space in enumerate(self._crowd)
        ]

        async def live(space: Space, syncs: list[dict[str, Any]]) -> None:
            for changes in syncs:
                async with self._pool.connection() as connection:
                    await connection.execute(_READ, space.read(changes["stamp"] - 1), prepare=True)
                async with self._pool.connection() as connection:
                    await connection.execute(_STORE, changes, prepare=True)

        return self._together([live(space, syncs) for space, syncs in zip(self._crowd, work, strict=True)], rounds)

    def refreshes(self, _run: str) -> Timed:
        async def live(space: Space) -> None:
            for _ in range(self._sizes.repeats):
                async with self._pool.connection() as connection:
                    await connection.execute(_LOOK_UP, space.key, prepare=True)

        return self._together([live(space) for space in self._crowd], self._sizes.repeats)

    def _together(self, lives: list[Coroutine[Any, Any, None]], times: int) -> Timed:
        watch = Stopwatch(self._processes)

        async def run() -> None:
            with watch.running():
                await asyncio.gather(*lives)

        self._runner.run(run())
        return watch.read(len(lives) * times)

    def _timed_read(self, watch: Stopwatch, after: int, wanted: Sequence[Row]) -> Stopwatch:
        with watch.running():
            found = self._connection.execute(_READ, self._owner.read(after), prepare=True).fetchall()
        if [(guid, data) for _, guid, _, _, _, _, data in found] != [(row.guid, row.data) for row in wanted]:
            raise WrongAnswer("PostgreSQL alone has lost rows: the comparison is worth nothing")
        return watch

    def _space(self) -> Space:
        space = Space()
        for statement in _NEW_SPACE:
            self._connection.execute(statement, space.key)
        return space


def _now() -> int:
    return time.time_ns() // 1_000_000
