"""The one form of every answer: `{"success": …, "data": …, "error": …, "meta": {…}}`."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")


class NoMeta(msgspec.Struct):
    """Nothing to say besides the data."""


class Success(msgspec.Struct, Generic[T]):
    """What was asked for, or what has become of it."""

    data: T
    success: Literal[True] = True
    error: None = None
    meta: NoMeta = msgspec.field(default_factory=NoMeta)


class Pagination(msgspec.Struct):
    """`next`: the cursor of the next page, null on the last one; `total`: how many there are on all pages, null where
    that would take too long to count.
    """

    next: str | None
    limit: int
    total: int | None


class PageMeta(msgspec.Struct):
    pagination: Pagination


class Page(msgspec.Struct, Generic[T]):
    """A page of a list."""

    data: list[T]
    meta: PageMeta
    success: Literal[True] = True
    error: None = None


class Problem(msgspec.Struct):
    """`code` is for programs and never changes; `message` is for people."""

    code: str
    message: str
    details: dict[str, Any] = {}


class Failure(msgspec.Struct):
    """Why there is no answer; nothing has changed."""

    error: Problem
    success: Literal[False] = False
    data: None = None
    meta: NoMeta = msgspec.field(default_factory=NoMeta)
