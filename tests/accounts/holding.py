"""Holding the server up at a chosen statement, so that a race has one outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import LiteralString, TypeVar

from accounts.calls import at_once
from users import look_into

T = TypeVar("T")
_WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def overtake(
    dsn: str,
    statement: LiteralString,
    work: Callable[[], T],
    then: Callable[[], object] = lambda: None,
    *,
    waiting: int = 1,
) -> T:
    """Run `statement` and hold its locks while `work` begins; once it is held up, do `then` and let it go on.

    `waiting`: how many calls of `work` are to be held up by then.
    """
    with look_into(dsn) as watching, look_into(dsn) as holding:
        holding.autocommit = False
        holding.execute(statement)

        def let_go() -> None:
            end = time.monotonic() + 60
            while len(watching.execute(_WAITING).fetchall()) < waiting:
                assert time.monotonic() < end, "nothing was held up"
                time.sleep(0.005)
            then()
            holding.commit()

        done: list[T] = []
        at_once(lambda: done.append(work()), let_go)
        return done[0]
