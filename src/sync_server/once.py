"""What is made when it is first asked for, and then once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Whoever comes while it is being made waits for it, and who goes away meanwhile does not end the making."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        """`make` is tried again by the next who asks if it failed."""
        self._make = make
        self._making: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """What was made. Raises what `make` raised."""
        if self._making is None or (self._making.done() and (self._making.cancelled() or self._making.exception())):
            self._making = asyncio.ensure_future(self._make())
        return await asyncio.shield(self._making)
