"""A household of devices, and a caretaker for their realm whose time is the test's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from postgres import realm_at
from sync.conftest import connections, new_user, user, wire
from sync_server.config import Config, Database
from sync_server.realms import Realm, Realms
from sync_server.retention import pruning
from sync_server.retention.settings import Retention
from wire import Server

__all__ = ["connections", "new_user", "user", "wire"]

T = TypeVar("T")
NEVER = 1e12
KEEP: dict[str, int | None] = dict.fromkeys(pruning.ages(Retention()))


def run(url: str, work: Callable[[Realm], Awaitable[T]]) -> T:
    """Do something with a realm of its own process, as another instance would."""

    async def working() -> T:
        config = Config(Database({"main": realm_at(url)}), base=Path("/nonexistent"))
        realms = Realms(config, {"main": url})
        try:
            return await work(realms.get("main"))
        finally:
            await realms.close()

    return asyncio.run(working())


Prune = Callable[..., Counter[str]]


@pytest.fixture
def prune(server: Server) -> Prune:
    """Prune the realm: what is named goes at that age in ms, all else stays; what went."""

    def work(**ages: int) -> Counter[str]:
        return run(server.dsn(server.realm), lambda realm: pruning.prune(realm, {**KEEP, **ages}, NEVER))

    return work
