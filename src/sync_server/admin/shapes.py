"""What several resources show in the same way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from sync_server.stored import descriptions
from sync_server.stored.rows import ALWAYS
from sync_server.stored.versions import OPERATOR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Since = Annotated[
    datetime | None, QueryParameter(description="Only what the server got at this time or later (RFC 3339)")
]
Until = Annotated[datetime | None, QueryParameter(description="Only what the server got before this time (RFC 3339)")]
OfUser = Annotated[UUID | None, QueryParameter(description="Only what is this user's, by id")]
OfTable = Annotated[str | None, QueryParameter(max_length=255, description="Only rows of this table")]
Which = Annotated[Literal["open", "all"], QueryParameter(description="`all`: also what has been restored or dismissed")]


class Somebody(msgspec.Struct):
    """A user."""

    id: UUID
    email: str


class By(msgspec.Struct):
    """The device that a version came from; `operator`: no device, but an operator who brought it back."""

    client_id: UUID
    name: str | None
    operator: bool


class State(msgspec.Struct):
    """A version of a row, without all of its data. `at`: when the server got it. `client_date`: when it was edited, by the
    device's clock; null where that is no time that can be written.
    """

    operation: str
    """`I`, `U`, or `D` for a row that is gone."""
    at: datetime | None
    client_date: datetime | None
    stamp: int
    """The order of changes; the ETag of the row is made of it."""
    by: By
    bytes: int
    preview: str | None
    """The beginning of the data, JSON."""


class Dismissal(msgspec.Struct):
    """`changed` is false where it was dismissed already."""

    changed: bool


def somebody(user_id: UUID | None, email: str | None) -> Somebody | None:
    return None if user_id is None or email is None else Somebody(user_id, email)


def by(client_id: UUID, details: str | None) -> By:
    return By(client_id, descriptions.read(details).name, client_id == OPERATOR)


def time_of(milliseconds: int | None) -> datetime | None:
    """None where it is not in the range of times that can be written."""
    if milliseconds is None:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def milliseconds(time: datetime | None, otherwise: int) -> int:
    if time is None:
        return otherwise
    return ((aware(time) or time) - _EPOCH) // timedelta(milliseconds=1)


def aware(time: datetime | None) -> datetime | None:
    """A time without an offset is taken for UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def between(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    return milliseconds(since, ALWAYS[0]), milliseconds(until, ALWAYS[1])


def raw(row_data: str | None) -> Any:
    """Row data as it goes into an answer: as the bytes that the device sent."""
    return None if row_data is None else msgspec.Raw(row_data.encode())
