"""What pull and push take and give, in every dialect that is in the field."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec

from sync_server.bodies import client_id, decode, storable
from sync_server.errors import ClientMismatch, InvalidBody
from sync_server.sync.surrogates import Surrogates

DATE_LIMIT = 8_640_000_000_000_000
"""What a client takes for ms since the epoch lies within ± this (ECMA-262, time values)."""

Milliseconds = Annotated[int, msgspec.Meta(ge=-DATE_LIMIT, le=DATE_LIMIT)]
KEY_LENGTH = 255
Key = Annotated[str, msgspec.Meta(max_length=KEY_LENGTH)]
_OPERATIONS = {"I": "I", "U": "U", "D": "D", "insert": "I", "update": "U", "delete": "D"}
_NOTHING = msgspec.Raw()
# rowData without a member that is not null; possessive, so that it never tries twice
_GONE = re.compile(r'\{\s*+(?:"(?:[^"\\]|\\.)*+"\s*+:\s*+null\s*+,?+\s*+)*+\}', re.DOTALL)


class SentChange(msgspec.Struct):
    """A change as it may arrive: sync_client's fields, and those of sync_server_ts's README (`table`, `data`)."""

    operation: str
    rowguid: Key | None = None
    tablename: Key | None = None
    clientdate: Milliseconds | None = None
    row_data: msgspec.Raw = msgspec.field(name="rowData", default=_NOTHING)
    table: Key | None = None
    data: msgspec.Raw = _NOTHING


class SentPull(msgspec.Struct, rename="camel"):
    client_id: str | None = None
    last_sync: Milliseconds | None = None
    last_sync_time: Milliseconds | None = None
    changes: list[SentChange] | None = None


class SentPush(msgspec.Struct, rename="camel"):
    client_id: str | None = None
    is_partial: int | bool | None = None
    changes: list[SentChange] | None = None


class Change(msgspec.Struct, frozen=True):
    """A row's latest edit on a device. `row_data` is the JSON text as it was sent; None for a row that is gone."""

    operation: str
    rowguid: str
    tablename: str
    client_date: int | None
    """None where the device gave no date: that of its push."""
    row_data: str | None


class Pull(msgspec.Struct, frozen=True):
    last_sync: int
    pending: Sequence[Change]
    digest: str
    """Equal for pulls with the same cursor and pending changes."""


class Push(msgspec.Struct, frozen=True):
    is_partial: bool
    changes: Sequence[Change]
    digest: str
    """Equal for the same body sent again."""


class PulledRow(msgspec.Struct):
    """One line of a pull's `data`. serverdate is the row's stamp."""

    operation: str
    rowguid: str
    tablename: str
    clientdate: int
    serverdate: int
    clientid: str
    row_data: msgspec.Raw | None = msgspec.field(name="rowData")


class Pushed(msgspec.Struct, rename="camel"):
    last_sync: int | None


_PULL = msgspec.json.Decoder(SentPull)
_PUSH = msgspec.json.Decoder(SentPush)
_OLD_DATA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)


def decode_pull(body: bytes, client: UUID) -> Pull:
    """Read the pull of `client`. Raises a Refusal with status 400 that names the field's path."""
    surrogates = Surrogates(body)
    sent = decode(_PULL, surrogates.text)
    _must_be(client, sent.client_id)
    cursor = sent.last_sync if sent.last_sync is not None else sent.last_sync_time
    pending = _changes(sent.changes, surrogates, with_data=False)
    identity = (cursor, sorted((c.tablename, c.rowguid, c.operation, c.client_date) for c in pending))
    return Pull(max(cursor or 0, 0), pending, hashlib.sha256(msgspec.json.encode(identity)).hexdigest())


def decode_push(body: bytes, client: UUID) -> Push:
    """Read the push of `client`, like decode_pull. Where a row occurs twice, its last change counts."""
    surrogates = Surrogates(body)
    sent = decode(_PUSH, surrogates.text)
    _must_be(client, sent.client_id)
    changes = _changes(sent.changes, surrogates, with_data=True)
    return Push(bool(sent.is_partial), changes, hashlib.sha256(body).hexdigest())


def _must_be(client: UUID, sent: str | None) -> None:
    if sent is not None and client_id(sent, "$.clientId") != client:
        raise ClientMismatch


def _changes(sent: list[SentChange] | None, surrogates: Surrogates, *, with_data: bool) -> list[Change]:
    latest: dict[tuple[str, str], Change] = {}
    for index, one in enumerate(sent or ()):
        change = _change(one, f"$.changes[{index}]", surrogates, with_data=with_data)
        key = (change.tablename, change.rowguid)
        latest.pop(key, None)  # so that the order is that of the last changes
        latest[key] = change
    return list(latest.values())


def _change(sent: SentChange, path: str, surrogates: Surrogates, *, with_data: bool) -> Change:
    operation = _OPERATIONS.get(sent.operation)
    if operation is None:
        raise InvalidBody(f'Expected one of "I", "U", "D" - at `{path}.operation`')
    tablename = sent.tablename if sent.tablename is not None else sent.table
    if tablename is None:
        raise InvalidBody(f"Object missing required field `tablename` - at `{path}`")
    rowguid = sent.rowguid if sent.rowguid is not None else _old_rowguid(sent.data, path)
    for name, key in (("tablename", tablename), ("rowguid", rowguid)):
        storable(key, f"{path}.{name}")
        if surrogates.hidden_in(key):
            raise InvalidBody(f"An unpaired surrogate is not allowed here - at `{path}.{name}`")
    if not with_data:
        return Change(operation, rowguid, tablename, sent.clientdate, None)
    row_data = None if operation == "D" else _row_data(sent, path, surrogates)
    return Change("D" if row_data is None else operation, rowguid, tablename, sent.clientdate, row_data)


def _row_data(sent: SentChange, path: str, surrogates: Surrogates) -> str | None:
    """The row's JSON text; None where the row is gone on the device: no data, or no member that is not null."""
    raw, name = (sent.row_data, "rowData") if bytes(sent.row_data) else (sent.data, "data")
    text = bytes(raw).decode()
    if text in ("", "null"):
        return None
    if not text.startswith("{"):
        raise InvalidBody(f"Expected `object | null` - at `{path}.{name}`")
    return None if _GONE.fullmatch(text) else surrogates.restore(text)


def _old_rowguid(data: msgspec.Raw, path: str) -> str:
    """The key of a change in the README's form, which stands among its data."""
    members = decode(_OLD_DATA, bytes(data)) if bytes(data).startswith(b"{") else {}
    for name in ("guid", "rowguid"):
        if name in members:
            text = bytes(members[name])
            guid = decode(_STRING, text) if text.startswith(b'"') else None
            if guid is None or len(guid) > KEY_LENGTH:
                raise InvalidBody(f"Expected `str` of length <= {KEY_LENGTH} - at `{path}.data.{name}`")
            return guid
    raise InvalidBody(f"Object missing required field `rowguid` - at `{path}`")


class _SentCancel(msgspec.Struct, rename="camel"):
    client_id: str | None = None


_CANCEL = msgspec.json.Decoder(_SentCancel)


def check_cancel(body: bytes, client: UUID) -> None:
    """Check that a cancelSync's body, which may be empty, is of `client`. Raises ClientMismatch."""
    if body:
        _must_be(client, decode(_CANCEL, body).client_id)
