"""What a part of a request took, for traces: nothing at all unless tracing is configured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Begin = Callable[[str], AbstractContextManager[Any]]
_NOTHING = nullcontext()
_begin: Begin | None = None


def span(name: str) -> AbstractContextManager[Any]:
    """What the block takes is a part of the request that this task answers."""
    return _NOTHING if _begin is None else _begin(name)


def record_with(begin: Begin | None) -> None:
    """Record spans by `begin` from now on, in this process; with None no more."""
    global _begin  # noqa: PLW0603 - one per process, as its tracer
    _begin = begin
