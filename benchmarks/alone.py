"""PostgreSQL alone: the same rows in the same tables, asked by psycopg on one connection."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg

from connection import WrongAnswer
from samples import TABLE, Row

_INSERT = f"""
WITH change AS (
    SELECT * FROM unnest(%(guids)s::text[], %(operations)s::text[], %(dates)s::bigint[], %(data)s::text[])
        WITH ORDINALITY AS change (rowguid, operation, client_date, row_data, ordinal)
), stored AS (
    INSERT INTO sync.rows
        (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
    SELECT %(space)s, '{TABLE}', rowguid, operation, row_data, client_date, client_date, %(stamp)s, ordinal, %(client)s
    FROM change
)
INSERT INTO sync.history (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date)
SELECT %(space)s, %(stamp)s, ordinal, %(space)s, %(client)s, '{TABLE}', rowguid, operation, client_date
FROM change
"""
_READ = """
SELECT operation, rowguid, tablename, client_date, stamp, client_id::text, row_data
FROM sync.rows
WHERE space_id = %(space)s
ORDER BY stamp, ordinal
"""


class Space:
    """One user's rows in a database of their own."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._key = {"space": uuid.uuid4(), "client": uuid.uuid4()}
        self._stamp = 0

    def close(self) -> None:
        self._connection.close()

    def insert(self, rows: Sequence[Row]) -> float:
        """Store new rows and their lines of the history, in one statement and one commit; the seconds."""
        self._stamp += 1
        parameters: dict[str, Any] = {
            **self._key,
            "stamp": self._stamp,
            "guids": [row.guid for row in rows],
            "operations": [row.operation for row in rows],
            "dates": [row.date for row in rows],
            "data": [row.data for row in rows],
        }
        begun = time.perf_counter()
        self._connection.execute(_INSERT, parameters, prepare=True)
        return time.perf_counter() - begun

    def read(self, wanted: Sequence[Row]) -> float:
        """All rows as text, in their order; the seconds. Raises WrongAnswer when they are not those."""
        begun = time.perf_counter()
        found = self._connection.execute(_READ, self._key, prepare=True).fetchall()
        seconds = time.perf_counter() - begun
        if [(row[1], row[6]) for row in found] != [(row.guid, row.data) for row in wanted]:
            raise WrongAnswer("PostgreSQL alone has lost rows: the comparison is worth nothing")
        return seconds
