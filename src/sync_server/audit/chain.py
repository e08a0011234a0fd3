"""Lines of the audit log, and what their hashes cover. sql/queries/audit.sql says the same to the database, for pushes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

ADMINS = UUID(int=0)
"""The chain of what admins do. Every other one is that of a space, and has its id."""
BUCKETS = 16


class Line(NamedTuple):
    """What the hash of a line covers, besides the hash of the line before it."""

    chain_id: UUID
    number: int
    at: int
    action: str
    entity: str
    entity_id: str
    stamp: int | None
    changes: int | None
    user_id: UUID | None
    realm: str | None
    role: str | None
    client_id: UUID | None
    via: str
    request_id: str | None
    content_digest: str
    address_digest: str

    def hash(self, previous: str) -> str:
        """The line's hash, after the one before it in the chain (empty for the first one)."""
        return digest(previous, *self)


class Change(NamedTuple):
    """A line of the history, as the content of a push has it."""

    ordinal: int
    operation: str
    client_date: int
    tablename: str
    rowguid: str
    row_data: str | None
    old_stamp: int | None
    old_ordinal: int | None
    old_data: str | None

    def digest(self, salt: str) -> str:
        return digest(salt, *self)


def digest(*parts: str | int | UUID | None) -> str:
    """SHA-256 of `parts` in hexadecimal: of each and a space after it, of a text with its length in UTF-8 before it, so that
    none can pass for two; None is '-'.
    """
    covered = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            text = part.encode()
            covered.update(b"%d:%b " % (len(text), text))
        else:
            covered.update(b"%b " % ("-" if part is None else str(part)).encode())
    return covered.hexdigest()


def content_digest(salt: str, changes: Iterable[Change], like: str) -> str:
    """What a push's line has for its `changes`, in the form of `like`, see `same`."""
    twice = len(like) > len(hashlib.sha256().hexdigest())
    digests = (change.digest(salt) for change in changes)
    covered = " ".join(each.encode().hex() if twice else each for each in digests)
    return hashlib.sha256(covered.encode()).hexdigest()


def same(stored: str, computed: str) -> bool:
    """Whether a digest in the database is the `computed` one. CockroachDB's is in hexadecimal twice: its sha256 is text."""
    return stored in {computed, computed.encode().hex()}
