"""The files of the archive: which there are, and their lines, read page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sync_server.database import Tx
from sync_server.realms import Realm

_ROWS, _BYTES = 500, 1024 * 1024
"""Of a page; it has one line at least."""
_FIRST = UUID(int=0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = {
    "at",
    "client_date",
    "last_sync",
    "signed_in",
    "seen",
    "pulled_at",
    "synced_at",
    "error_at",
    "expires",
    "day",
}
"""Columns in ms since the epoch."""
_JSON = {"data", "old_data"}
"""Columns with JSON as it was sent."""


class Account(NamedTuple):
    """What is said of the account itself; secrets such as the password's hash are not."""

    id: UUID
    space_id: UUID
    email: str
    name: str
    language: str | None
    role: str
    active: bool
    created_at: datetime
    changed_at: datetime
    now: datetime


class File(NamedTuple):
    """A file of JSON Lines. `begin`: the place before its first line, by the columns that order it."""

    name: str
    statement: str
    about: str
    begin: Mapping[str, Any]


FILES = (
    File("rows.jsonl", "takeout_rows", "your data as it is now", {"tablename": "", "rowguid": ""}),
    File("history.jsonl", "takeout_history", "each change of your data", {"stamp": -(2**62), "ordinal": -1}),
    File(
        "overridden.jsonl",
        "takeout_overridden",
        "versions that lost against others, or were replaced",
        {"tablename": "", "rowguid": "", "id": _FIRST},
    ),
    File("kept_aside.jsonl", "takeout_kept_aside", "changes that could not be stored", {"id": _FIRST}),
    File("devices.jsonl", "takeout_devices", "your devices", {"id": _FIRST}),
    File(
        "activity.jsonl",
        "takeout_activity",
        "when your devices were there: days, and their hours as bits",
        {"client_id": _FIRST, "day": -(2**62)},
    ),
    File("sessions.jsonl", "takeout_sessions", "where you are signed in to the administration", {"id": _FIRST}),
    File(
        "audit.jsonl",
        "takeout_audit",
        "what you did and what was done with your account",
        {"chain_id": _FIRST, "number": -1},
    ),
)


async def account(tx: Tx, user_id: UUID) -> Account | None:
    """The account of a user."""
    return await tx.one(Account, "takeout_account", {"user_id": user_id})


async def pages(realm: Realm, of: Account, file: File) -> AsyncIterator[bytes]:
    """The lines of a file, a page at a time; each is a statement of its own."""
    place = dict(file.begin)
    while True:
        parameters = {"user_id": of.id, "space_id": of.space_id, "rows": _ROWS, "bytes": _BYTES, **place}
        found = await realm.read(lambda tx, given=parameters: tx.all(dict[str, Any], file.statement, given))  # type: ignore[misc]
        if not found:
            return
        yield b"".join(_line(each) for each in found)
        place = {name: found[-1][name] for name in file.begin}


def _line(columns: dict[str, Any]) -> bytes:
    return msgspec.json.encode({name: _value(name, value) for name, value in columns.items()}) + b"\n"


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _JSON:
        return msgspec.Raw(value.encode())
    return _time(value) if name in _TIMES else value


def _time(milliseconds: int) -> datetime | int:
    """What is beyond the years of a calendar stays a number: a device may send it."""
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return milliseconds
