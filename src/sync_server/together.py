"""Questions that come at the same moment, asked in one: the more there are, the less each of them costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")
_MOST = 100
"""Questions asked at once."""
_PATIENCE = 0.02
"""Seconds that a question waits for the answer to those before it: one that does not come holds nobody up."""


class Together(Generic[Q, A]):
    """Asks what comes while an answer is under way when that is there. A question that comes alone is asked at once."""

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        """`ask` answers each question at its place."""
        self._ask = ask
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._next: asyncio.Handle | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> A:
        """Raises what `ask` raises, to all who asked at once."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, answer))
        if self._next is None:
            self._next = loop.call_later(_PATIENCE, self._begin) if self._under_way else loop.call_soon(self._begin)
        return await answer

    def _begin(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        asked, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        if asked:
            # a task of its own: one who goes away must not take the answer from the others
            task = asyncio.get_running_loop().create_task(self._answer(asked))
            self._under_way.add(task)
            task.add_done_callback(self._end)
        if self._waiting:
            self._next = asyncio.get_running_loop().call_later(_PATIENCE, self._begin)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._waiting:
            self._begin()

    async def _answer(self, asked: list[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in asked])
        except asyncio.CancelledError:  # the server ends
            for _, answer in asked:
                answer.cancel()
            raise
        except Exception as exc:  # noqa: BLE001 - it is for those who asked
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(exc)
            return
        for (_, answer), given in zip(asked, answers, strict=True):
            if not answer.done():
                answer.set_result(given)
