"""Versions of a row, and how they are named: a row by its key, a version by where it is kept."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple
from uuid import UUID

from sync_server.database import Tx
from sync_server.stored.refusals import RowNotFound, VersionNotFound

OPERATOR = UUID(int=0)
"""The client of what an operator has brought back. No device has this id (accounts/registration.py), so each is sent it."""
_RECORDED = re.compile(r"([hd])([0-9]{1,19})\.([0-9]{1,9})")
_STATEMENTS = {"h": "recorded_version", "d": "deleted_version"}
_LARGEST = 2**63 - 1
_SPACE = 16
"""Bytes of a space's id in a row's."""


class RowKey(NamedTuple):
    """A row of the realm."""

    space_id: UUID
    tablename: str
    rowguid: str

    @property
    def id(self) -> str:
        """As it stands in URLs: neither part of the key has a NUL."""
        key = f"{self.tablename}\0{self.rowguid}".encode()
        return base64.urlsafe_b64encode(self.space_id.bytes + key).rstrip(b"=").decode()

    @classmethod
    def of_id(cls, text: str) -> RowKey:
        """Raises RowNotFound where it is none."""
        try:
            raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            tablename, rowguid = raw[_SPACE:].decode().split("\0")
            return cls(UUID(bytes=raw[:_SPACE]), tablename, rowguid)
        except (binascii.Error, ValueError):
            raise RowNotFound from None


class Version(NamedTuple):
    """What a row was like. `row_data` is None for a row that was gone, and where the data was not kept."""

    operation: str
    row_data: str | None
    client_date: int
    client_id: UUID
    stamp: int

    @property
    def gone(self) -> bool:
        return self.operation == "D"

    @property
    def complete(self) -> bool:
        """Whether it can be brought back."""
        return self.gone or self.row_data is not None


def recorded_name(stamp: int, ordinal: int) -> str:
    """The name of a version in the history; that of one in `overridden` is its id."""
    return f"h{stamp}.{ordinal}"


def deleted_name(stamp: int, ordinal: int) -> str:
    """The name of the version that a delete in the history replaced."""
    return f"d{stamp}.{ordinal}"


def is_recorded(name: str) -> bool:
    """Whether a version of that name is in the history, and not in `overridden`."""
    return _RECORDED.fullmatch(name) is not None


async def current(tx: Tx, row: RowKey) -> Version | None:
    """The stored version, which may say that the row is gone; None where nothing is stored."""
    return await tx.one(Version, "current_version", row._asdict())


async def find(tx: Tx, row: RowKey, name: str) -> Version:
    """An earlier version of a row, by its name. Raises VersionNotFound."""
    if recorded := _RECORDED.fullmatch(name):
        stamp, ordinal = int(recorded[2]), int(recorded[3])
        parameters = {**row._asdict(), "stamp": min(stamp, _LARGEST), "ordinal": ordinal}
        found = await tx.one(Version, _STATEMENTS[recorded[1]], parameters)
    else:
        found = await tx.one(Version, "overridden_version", {**row._asdict(), "id": overridden_id(name)})
    if found is None:
        raise VersionNotFound
    return found


def overridden_id(name: str) -> UUID:
    """Raises VersionNotFound where it is the name of no version in `overridden`."""
    try:
        return UUID(name)
    except ValueError:
        raise VersionNotFound from None
