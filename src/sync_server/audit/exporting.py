"""The audit log as CSV or JSON Lines, a piece at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from sync_server.audit import listing
from sync_server.audit.listing import Entry, PushedChange, Wanted
from sync_server.realms import Realm

Format = Literal["csv", "jsonl"]
COLUMNS = (
    "at",
    "action",
    "entity",
    "entity_id",
    "user_id",
    "email",
    "role",
    "account_realm",
    "device",
    "address",
    "via",
    "request_id",
    "old",
    "new",
    "chain",
    "number",
    "hash",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell must not begin with: spreadsheets would take it for a formula."""
_ACTIONS = {"I": "row.insert", "U": "row.update", "D": "row.delete"}
_PIECE = 64 * 1024


async def export(realm: Realm, wanted: Wanted, form: Format) -> AsyncIterator[bytes]:
    """The lines that are wanted, the last ones first; a push as one line per row that it changed. Memory stays flat."""
    write = _csv if form == "csv" else _json
    piece = io.BytesIO()
    if form == "csv":
        piece.write(_row(COLUMNS))
    async for entry in records(realm, wanted):
        piece.write(write(entry))
        if piece.tell() >= _PIECE:
            yield piece.getvalue()
            piece = io.BytesIO()
    yield piece.getvalue()


async def records(realm: Realm, wanted: Wanted) -> AsyncIterator[dict[str, Any]]:
    """Each line by COLUMNS; `old` and `new` are JSON as it is stored."""
    async for entry in listing.every(realm, wanted):
        head = _head(entry)
        if entry.stamp is None:
            yield {**head, **values(entry)}
            continue
        found = False
        async for change in listing.of_push(realm, entry):
            found = True
            yield {**head, **_change(change)}
        if not found:  # erased, or pruned from the history
            yield {**head, "old": None, "new": None}


def _head(entry: Entry) -> dict[str, Any]:
    at = datetime.fromtimestamp(entry.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "at": at,
        "action": entry.action,
        "entity": entry.entity,
        "entity_id": entry.entity_id,
        "user_id": entry.user_id,
        "email": entry.email,
        "role": entry.role,
        "account_realm": entry.realm,
        "device": entry.client_id,
        "address": entry.address,
        "via": entry.via,
        "request_id": entry.request_id,
        "chain": entry.chain_id,
        "number": entry.number,
        "hash": entry.hash,
    }


class _Content(msgspec.Struct):
    old: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    new: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


def values(entry: Entry) -> dict[str, str | None]:
    """What a line of an admin has changed: `old` and `new`, JSON, None where there is none."""
    content = msgspec.json.decode(entry.content, type=_Content) if entry.content is not None else _Content()
    return {"old": _text(content.old), "new": _text(content.new)}


def _text(raw: msgspec.Raw) -> str | None:
    text = bytes(raw).decode()
    return None if text == "null" else text


def _change(change: PushedChange) -> dict[str, Any]:
    return {
        "action": _ACTIONS[change.operation],
        "entity": "row",
        "entity_id": f"{change.tablename}/{change.rowguid}",
        "old": change.old_data,
        "new": change.row_data,
    }


def _json(record: dict[str, Any]) -> bytes:
    raw = {name: None if record[name] is None else msgspec.Raw(record[name].encode()) for name in ("old", "new")}
    return msgspec.json.encode({name: raw.get(name, record[name]) for name in COLUMNS}) + b"\n"


def _csv(record: dict[str, Any]) -> bytes:
    return _row(tuple(record[name] for name in COLUMNS))


def _row(values: tuple[Any, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(["" if value is None else _cell(str(value)) for value in values])
    return text.getvalue().encode()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
