"""What a call did, in a form in which two runs of it are equal: no times, no ids, no tokens."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

from users import Connection

TABLES = ("spaces", "users", "clients", "rows", "history", "overridden", "pins", "uploads", "upload_parts")
State = dict[str, list[str]]


def state(database: Connection, email: str, ids: set[str]) -> State:
    """All that the database holds of a user; `ids` are kept from call to call, so that what is left behind is seen."""
    ids |= {email}
    for _ in range(2):  # the user tells the space and the id, which the others tell of
        for table, columns in (("users", ("id", "space_id")), ("clients", ("id",))):
            for row in _rows(database, table, ids):
                ids |= {row[column] for column in columns}
    return {
        table: sorted(json.dumps(masked(row), sort_keys=True) for row in _rows(database, table, ids))
        for table in TABLES
    }


def _rows(database: Connection, table: str, ids: set[str]) -> list[dict[str, Any]]:
    patterns = [f"%{known}%" for known in ids]
    query = f"SELECT to_jsonb(t) AS row FROM sync.{table} t WHERE to_jsonb(t)::text LIKE ANY(%s)"
    return [found["row"] for found in database.execute(query.encode(), [patterns]).fetchall()]


def masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: masked(member) for name, member in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, int | float) and abs(value) > 10**11:
        return "time"
    if isinstance(value, str):
        with suppress(ValueError):
            return f"id {uuid.UUID(value).version}"
        return "token" if len(value) >= 16 and " " not in value else value.replace("@", " at ").split(" at ")[-1]
    return value
