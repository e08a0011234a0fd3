"""What pull and push take and give, in every dialect that is in the field."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec

from sync_server.bodies import client_id, decode, storable
from sync_server.errors import ClientMismatch, InvalidBody, TooManyRows
from sync_server.limits import Limit, Limits
from sync_server.sync.surrogates import Surrogates

DATE_LIMIT = 8_640_000_000_000_000
"""What a client takes for ms since the epoch lies within ± this (ECMA-262, time values)."""

Milliseconds = Annotated[int, msgspec.Meta(ge=-DATE_LIMIT, le=DATE_LIMIT)]
KEY_LENGTH = 255
Key = Annotated[str, msgspec.Meta(max_length=KEY_LENGTH)]
_OPERATIONS = {"I": "I", "U": "U", "D": "D", "insert": "I", "update": "U", "delete": "D"}
_NOTHING = msgspec.Raw()
# rowData without a member that is not null; possessive, so that it never tries twice
_GONE = re.compile(rb'\{\s*+(?:"(?:[^"\\]|\\.)*+"\s*+:\s*+null\s*+,?+\s*+)*+\}', re.DOTALL)


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


class LoosePull(msgspec.Struct, rename="camel"):
    """A pull, of which only the changes may be wrong."""

    client_id: str | None = None
    last_sync: Milliseconds | None = None
    last_sync_time: Milliseconds | None = None
    changes: list[msgspec.Raw] | None = None


class LoosePush(msgspec.Struct, rename="camel"):
    client_id: str | None = None
    is_partial: int | bool | None = None
    changes: list[msgspec.Raw] | None = None


Strict = TypeVar("Strict", SentPull, SentPush)
Loose = TypeVar("Loose", LoosePull, LoosePush)


class Change(msgspec.Struct, frozen=True):
    """A row's latest edit on a device. `row_data` is the JSON text as it was sent, most often a part of the call's body and
    no copy of it; None for a row that is gone.
    """

    operation: str
    rowguid: str
    tablename: str
    client_date: int | None
    """None where the device gave no date: that of its push."""
    row_data: msgspec.Raw | None


class Pull(msgspec.Struct, frozen=True):
    last_sync: int
    pending: Sequence[Change]
    digest: str
    """Equal for pulls with the same cursor and pending changes."""


class Unstorable(msgspec.Struct, frozen=True):
    """A change that cannot be stored as a row, as it was sent (JSON), and what is wrong; `most`: the limit, if it is one."""

    reason: str
    detail: str
    most: int | None
    text: str


class Push(msgspec.Struct, frozen=True):
    is_partial: bool
    changes: Sequence[Change]
    unstorable: Sequence[Unstorable]
    digest: str
    """Equal for the same body sent again."""


class Pushed(msgspec.Struct, rename="camel"):
    last_sync: int | None


_PULL = msgspec.json.Decoder(SentPull)
_PUSH = msgspec.json.Decoder(SentPush)
_LOOSE_PULL = msgspec.json.Decoder(LoosePull)
_LOOSE_PUSH = msgspec.json.Decoder(LoosePush)
_CHANGE = msgspec.json.Decoder(SentChange)
_LIMITS = Limits()
_MEMBER = re.compile(r"at `\$\.(\w+)")
_LENGTH = re.compile(r"length <= (\d+)")
_OLD_DATA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)


def decode_pull(body: bytes, client: UUID) -> Pull:
    """Read the pull of `client`. Raises MalformedBody, InvalidBody, ClientMismatch.

    Changes that cannot be stored are left out: they are kept aside when they are pushed.
    """
    sent, changes, _ = _read(_PULL, _LOOSE_PULL, Surrogates(body), _OF_PULLS)
    _must_be(client, sent.client_id)
    cursor = sent.last_sync if sent.last_sync is not None else sent.last_sync_time
    return Pull(max(cursor or 0, 0), changes, _identity(cursor, changes))


def _identity(cursor: int | None, changes: Sequence[Change]) -> str:
    if not changes:
        return str(cursor)
    pending = sorted((c.tablename, c.rowguid, c.operation, c.client_date) for c in changes)
    return hashlib.sha256(msgspec.json.encode((cursor, pending))).hexdigest()


def decode_push(body: bytes, client: UUID, limits: Limits = _LIMITS) -> Push:
    """Read the push of `client`, like decode_pull. Where a row occurs twice, its last change counts. Raises TooManyRows."""
    surrogates = Surrogates(body)
    rules = _Rules(with_data=True, most_rows=limits.rows_per_push, most_bytes=limits.row)
    sent, changes, unstorable = _read(_PUSH, _LOOSE_PUSH, surrogates, rules)
    _must_be(client, sent.client_id)
    return Push(bool(sent.is_partial), changes, unstorable, hashlib.sha256(body).hexdigest())


def _must_be(client: UUID, sent: str | None) -> None:
    if sent is not None and client_id(sent, "$.clientId") != client:
        raise ClientMismatch


class _Rules(msgspec.Struct, frozen=True):
    """What the changes of a call are read by."""

    with_data: bool
    most_rows: int | None = None
    most_bytes: int | None = None


_OF_PULLS = _Rules(with_data=False)


def _read(
    strict: msgspec.json.Decoder[Strict],
    loose: msgspec.json.Decoder[Loose],
    surrogates: Surrogates,
    rules: _Rules,
) -> tuple[Strict | Loose, list[Change], list[Unstorable]]:
    """The body, its changes, and those that cannot be stored. Bodies that are as they should be are read in one go."""
    try:
        sent = decode(strict, surrogates.text)
        _check_number(sent.changes or (), rules)
        return sent, _latest([_change(one, surrogates, rules) for one in sent.changes or ()]), []
    except InvalidBody:
        bare = decode(loose, surrogates.text)  # raises where it is more than a change that is wrong
    _check_number(bare.changes or (), rules)
    changes: list[Change] = []
    unstorable: list[Unstorable] = []
    for raw in bare.changes or ():
        try:
            changes.append(_change(decode(_CHANGE, bytes(raw)), surrogates, rules))
        except InvalidBody as exc:
            text = surrogates.restore(bytes(raw)).decode()
            unstorable.append(Unstorable(*_reason(exc), text))
    return bare, _latest(changes), unstorable


def _check_number(changes: Sequence[object], rules: _Rules) -> None:
    if rules.most_rows is not None and len(changes) > rules.most_rows:
        raise TooManyRows(
            f"There are {len(changes)} changes in one call", limit=Limit("limits.rows_per_push", rules.most_rows)
        )


def _latest(changes: Sequence[Change]) -> list[Change]:
    latest: dict[tuple[str, str], Change] = {}
    for change in changes:
        key = (change.tablename, change.rowguid)
        latest.pop(key, None)  # so that the order is that of the last changes
        latest[key] = change
    return list(latest.values())


def _reason(exc: InvalidBody) -> tuple[str, str, int | None]:
    """A name for what is wrong with a change, the sentence, and the limit that it is over."""
    if isinstance(exc, _RowTooLarge):
        return "row_too_large", exc.message, exc.most
    member, length = _MEMBER.search(exc.message), _LENGTH.search(exc.message)
    return f"invalid_{member[1].lower() if member else 'change'}", exc.message, int(length[1]) if length else None


class _RowTooLarge(InvalidBody):
    def __init__(self, most: int, size: int) -> None:
        self.most = most
        super().__init__(f"{size} bytes are more than limits.row allows, which is {most} - at `$.rowData`")


def _change(sent: SentChange, surrogates: Surrogates, rules: _Rules) -> Change:
    operation = _OPERATIONS.get(sent.operation)
    if operation is None:
        raise InvalidBody('Expected one of "I", "U", "D" - at `$.operation`')
    tablename = sent.tablename if sent.tablename is not None else sent.table
    if tablename is None:
        raise InvalidBody("Object missing required field `tablename` - at `$.tablename`")
    rowguid = sent.rowguid if sent.rowguid is not None else _old_rowguid(sent.data)
    for name, key in (("tablename", tablename), ("rowguid", rowguid)):
        storable(key, f"$.{name}")
        if surrogates.hidden_in(key):
            raise InvalidBody(f"An unpaired surrogate is not allowed here - at `$.{name}`")
    if not rules.with_data:
        return Change(operation, rowguid, tablename, sent.clientdate, None)
    row_data = None if operation == "D" else _row_data(sent, surrogates, rules.most_bytes)
    return Change("D" if row_data is None else operation, rowguid, tablename, sent.clientdate, row_data)


def _row_data(sent: SentChange, surrogates: Surrogates, most_bytes: int | None) -> msgspec.Raw | None:
    """The row's JSON text; None where the row is gone on the device: no data, or no member that is not null."""
    raw, name = (sent.row_data, "rowData") if memoryview(sent.row_data) else (sent.data, "data")
    text = memoryview(raw)
    if len(text) <= len(b"null") and bytes(text) in (b"", b"null"):
        return None
    if bytes(text[:1]) != b"{":
        raise InvalidBody(f"Expected `object | null` - at `$.{name}`")
    if most_bytes is not None and len(text) > most_bytes:
        raise _RowTooLarge(most_bytes, len(text))
    if _GONE.fullmatch(text):
        return None
    return msgspec.Raw(surrogates.restore(bytes(text))) if surrogates.found else raw


def _old_rowguid(data: msgspec.Raw) -> str:
    """The key of a change in the README's form, which stands among its data."""
    members = decode(_OLD_DATA, bytes(data)) if bytes(data).startswith(b"{") else {}
    for name in ("guid", "rowguid"):
        if name in members:
            text = bytes(members[name])
            guid = decode(_STRING, text) if text.startswith(b'"') else None
            if guid is None or len(guid) > KEY_LENGTH:
                raise InvalidBody(f"Expected `str` of length <= {KEY_LENGTH} - at `$.rowguid`")
            return guid
    raise InvalidBody("Object missing required field `rowguid` - at `$.rowguid`")


class _SentCancel(msgspec.Struct, rename="camel"):
    client_id: str | None = None


_CANCEL = msgspec.json.Decoder(_SentCancel)


def check_cancel(body: bytes, client: UUID) -> None:
    """Check that a cancelSync's body, which may be empty, is of `client`. Raises ClientMismatch."""
    if body:
        _must_be(client, decode(_CANCEL, body).client_id)
