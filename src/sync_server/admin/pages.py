"""Lists in pages: each begins where the one before ended, found by an index, so the hundredth costs what the first does."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from sync_server.admin.envelope import Page, PageMeta, Pagination
from sync_server.admin.errors import InvalidCursor
from sync_server.keys import Keys
from sync_server.server import Server

T = TypeVar("T")
R = TypeVar("R")
DEFAULT, MOST = 50, 200
_SIGNATURE = 12
"""Bytes. A cursor opens nothing; the signature keeps what comes back to what was given out."""


class Paging:
    """Which page of a list is wanted.

    A statement is to be asked for `fetch` rows after `after`; `page` makes the answer of them.
    """

    def __init__(self, keys: Keys, scope: str, cursor: str | None, limit: int) -> None:
        """`scope`: the list with its filters and its sorting, of which alone the cursor is a place."""
        self.limit = limit
        self.fetch = limit + 1
        self._keys = keys
        self._scope = scope
        self._cursor = cursor

    def after(self, kind: type[T]) -> T | None:
        """The key (see `page`) of the last element of the page before, None for the first page. Raises InvalidCursor."""
        if self._cursor is None:
            return None
        try:
            sent = base64.urlsafe_b64decode(self._cursor.encode() + b"==")
            signature, payload = sent[:_SIGNATURE], sent[_SIGNATURE:]
            if not hmac.compare_digest(signature, self._sign(payload)):
                raise InvalidCursor
            return msgspec.json.decode(payload, type=kind)
        except (binascii.Error, ValueError, msgspec.DecodeError):
            raise InvalidCursor from None

    def page(
        self,
        found: Sequence[R],
        key: Callable[[R], Any],
        total: int | None,
        shown: Callable[[R], T],
    ) -> Page[T]:
        """The answer of up to `fetch` rows. `key`: a row's place in the order, of what JSON can say."""
        rows = found[: self.limit]
        following = self._encode(key(rows[-1])) if len(found) > self.limit else None
        return Page([shown(row) for row in rows], PageMeta(Pagination(following, self.limit, total)))

    def part(self, shown: Sequence[T], following: Any | None) -> Page[T]:
        """The answer where a page looks at so many rows: `following` is the place to go on from, None at the end."""
        cursor = None if following is None else self._encode(following)
        return Page(list(shown), PageMeta(Pagination(cursor, self.limit, None)))

    def _encode(self, key: Any) -> str:
        payload = msgspec.json.encode(key)
        return base64.urlsafe_b64encode(self._sign(payload) + payload).decode().rstrip("=")

    def _sign(self, payload: bytes) -> bytes:
        return self._keys.digest("cursor", self._scope, payload.decode(errors="replace"))[:_SIGNATURE]


def paging(
    request: Request[Any, Any, Any],
    server: NamedDependency[Server],
    cursor: Annotated[
        str | None, QueryParameter(max_length=4000, description="`meta.pagination.next` of the page before")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST, description="The most that a page holds")] = DEFAULT,
) -> Paging:
    """The dependency `paging` of routes that answer with a `Page`."""
    filters = sorted(
        (key, value) for key, value in request.query_params.multi_items() if key not in {"cursor", "limit"}
    )
    return Paging(server.keys, repr((request.url.path, filters)), cursor, limit)
