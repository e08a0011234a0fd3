"""How much waits in the realms' databases: mails, and calls of which parts are missing."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from sync_server.errors import Unavailable
from sync_server.observing.tally import OfRealm
from sync_server.realms import Realm, Realms

_FRESH = 15.0
"""Seconds for which what was seen is good enough."""
_PATIENCE = 1.0
"""Seconds that whoever asks waits; what takes longer is told next time."""
_AT_ONCE = 2


class Queues(NamedTuple):
    mails: int
    oldest_mail: int
    """Milliseconds."""
    uploads: int


class _Seen(NamedTuple):
    when: float
    requests: int
    queues: Queues


class QueueWatch:
    """Looks only into databases that are in use: a realm that is at rest is not woken to say that nothing waits."""

    def __init__(self, realms: Realms) -> None:
        self._realms = realms
        self._seen: dict[str, _Seen] = {}
        self._look: asyncio.Task[None] | None = None

    @property
    def seen(self) -> dict[str, Queues]:
        return {name: seen.queues for name, seen in self._seen.items()}

    async def refresh(self, counted: dict[str, OfRealm]) -> None:
        """Look again where something may have changed since the last look; `counted`: what is known of the realms."""
        if self._look is None or self._look.done():
            due = [realm for realm in self._realms if self._is_due(realm, counted)]
            self._look = asyncio.create_task(self._look_into(due, counted))
        await asyncio.wait([self._look], timeout=_PATIENCE)

    def _is_due(self, realm: Realm, counted: dict[str, OfRealm]) -> bool:
        seen = self._seen.get(realm.name)
        if not realm.in_use or (seen is not None and time.monotonic() - seen.when < _FRESH):
            return False
        return seen is None or any(seen.queues) or seen.requests != _requests(realm, counted)

    async def _look_into(self, realms: list[Realm], counted: dict[str, OfRealm]) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)  # calls come first

        async def look(realm: Realm) -> None:
            async with turns:
                requests = _requests(realm, counted)
                try:
                    queues = await realm.read(lambda tx: tx.one(Queues, "queue_lengths", {}))
                except Unavailable:
                    return  # which the metrics of its database tell
                if queues is not None:
                    self._seen[realm.name] = _Seen(time.monotonic(), requests, queues)

        await asyncio.gather(*(look(realm) for realm in realms))


def _requests(realm: Realm, counted: dict[str, OfRealm]) -> int:
    found = counted.get(realm.name)
    return 0 if found is None else found.requests
