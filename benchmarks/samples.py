"""The rows that the server and PostgreSQL alone are given: the same ones for the same seed."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Sequence
from typing import NamedTuple

TABLE = "todos"
BYTES = 300
"""Length of a row's data, as JSON text."""
_WORDS = (
    "milk bread butter call mother before noon water the plants on Friday remember invoice train ticket window seat "
    "garden dinner with Ann and Tom at eight bring wine birthday present book dentist passport photos half past ten"
)


class Row(NamedTuple):
    guid: str
    date: int
    """When the device changed it, in ms."""
    data: str
    operation: str = "I"


def rows(count: int, seed: str, date: int) -> list[Row]:
    """`count` new rows, changed at `date`."""
    numbers = random.Random(seed)
    return [_row(numbers, date) for _ in range(count)]


def edited(old: Sequence[Row], seed: str, date: int) -> list[Row]:
    """The same rows with other data, changed at `date`."""
    fresh = rows(len(old), seed, date)
    return [row._replace(guid=before.guid, operation="U") for row, before in zip(fresh, old, strict=True)]


def _row(numbers: random.Random, date: int) -> Row:
    guid = str(uuid.UUID(int=numbers.getrandbits(128), version=4))
    data = {"id": guid, "priority": numbers.randrange(5), "done": False, "due": "2026-11-20T10:00:00.000Z", "note": ""}
    missing = BYTES - len(_json(data))
    words = " ".join(numbers.choices(_WORDS.split(), k=missing // 2))
    return Row(guid, date, _json({**data, "note": words[:missing].ljust(missing, ".")}))


def _json(data: dict[str, object]) -> str:
    return json.dumps(data, separators=(",", ":"))
