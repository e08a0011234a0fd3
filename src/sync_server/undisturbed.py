"""Work that goes on to its end when whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any


async def to_the_end(work: Coroutine[Any, Any, None], under_way: set[asyncio.Task[None]]) -> None:
    """Do `work`; when the task is cancelled meanwhile, the work goes on, and is among those `under_way` until it ends.

    Most work never waits, and a task for each would cost more than the work: it gets one from where it first waits. Until
    then it is a part of the present task, so it must not begin with a time-out.
    """
    try:
        first = work.send(None)
    except StopIteration:
        return
    rest = asyncio.create_task(_go_on(work, first))
    under_way.add(rest)
    rest.add_done_callback(under_way.discard)
    await asyncio.shield(rest)


@types.coroutine
def _go_on(work: Coroutine[Any, Any, None], first: Any) -> Generator[Any, Any, None]:
    """The rest of `work`, which waits for `first`."""
    yield first
    yield from work
