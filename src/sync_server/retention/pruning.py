"""What goes, in small portions: each a short transaction of its own, with a pause after it for the others."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple
from uuid import UUID

from sync_server.audit import pruning as audit
from sync_server.realms import Realm
from sync_server.retention.settings import Retention

PORTION = 200
"""Rows that one transaction removes at most."""
_SPACES = 500
"""Spaces that one statement looks at."""
_TRIES = 20
"""Times in a row that a space may be taken, before it is left for the next round."""
_ALL = 1 << 40
_DAY = 86_400_000
_EXPIRED = {
    "attempts": 0,
    "uploads": 60 * 60_000,
    "pins": _DAY,
    "stats": 400 * _DAY,
    "activity": 90 * _DAY,
    "admin_sessions": 0,
    "idempotency_keys": 0,
}
"""Milliseconds after which what is of no use any more goes, whatever the configuration."""
_STATEMENTS = {
    "history": "prune_history",
    "deleted": "prune_deleted",
    "overridden": "prune_overridden",
    "kept_aside": "prune_kept_aside",
    "attempts": "prune_attempts",
    "uploads": "prune_uploads",
    "pins": "prune_pins",
    "stats": "prune_stats",
    "activity": "prune_activity",
    "admin_sessions": "prune_admin_sessions",
    "idempotency_keys": "prune_idempotency_keys",
}
_REST = 3.0
"""How many times as long as a portion has taken the pause after it is."""
_SHORTEST_REST, _LONGEST_REST = 0.02, 5.0


Tell = Callable[[int], object]


def _nobody(_number: int) -> None:
    """Nobody wants to hear of it."""


class _Space(NamedTuple):
    space_id: UUID
    tombstones: int
    history: int
    deleted: int
    overridden: int


_IN_SPACES = _Space._fields[1:]


class _Elsewhere(NamedTuple):
    kept_aside: int
    attempts: int
    uploads: int
    pins: int
    stats: int
    activity: int
    admin_sessions: int
    idempotency_keys: int


class _Told(Counter[str]):
    """How much was removed, of what; somebody is told of it as it goes on."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    def add(self, kind: str, number: int) -> None:
        self[kind] += number
        self._tell(number)


Ages = Mapping[str, int | None]
"""By what is pruned: the age in ms from which on it goes; None: never."""


def ages(retention: Retention) -> Ages:
    """The configured ages, and those of what is simply of no use any more."""
    days = {
        "tombstones": retention.tombstones,
        "history": retention.history,
        "deleted": retention.deleted,
        "overridden": retention.overridden,
        "kept_aside": retention.kept_aside,
        "audit": retention.audit,
    }
    return {**{name: None if value is None else value * _DAY for name, value in days.items()}, **_EXPIRED}


async def count(realm: Realm, of_age: Ages, tell: Tell = _nobody) -> Counter[str]:
    """How much could be pruned now; `tell` hears of it by and by. Changes nothing."""
    found: Counter[str] = Counter()
    async for page in _pages(realm, of_age, _ALL):
        for space in page:
            found.update({kind: getattr(space, kind) for kind in _IN_SPACES})
        tell(sum(sum(space[1:]) for space in page))
    elsewhere = await _elsewhere(realm, of_age)
    found.update(elsewhere._asdict())
    found["audit"] = await realm.read(lambda tx: audit.count(tx, of_age.get("audit")))
    return found


async def prune(realm: Realm, of_age: Ages, deadline: float, tell: Tell = _nobody) -> Counter[str]:
    """Remove what may go, until all is gone or the monotonic clock says `deadline`; how much was removed.

    `tell` hears of it by and by.
    """
    removed = _Told(tell)
    async for page in _pages(realm, of_age, 1):
        tell(0)
        for space in page:
            for kind in _IN_SPACES:
                if getattr(space, kind):
                    await _prune(realm, kind, of_age[kind], deadline, removed, space.space_id)
        if time.monotonic() >= deadline:
            return removed
    for kind, number in (await _elsewhere(realm, of_age))._asdict().items():
        if number:
            await _prune(realm, kind, of_age[kind], deadline, removed)
    if of_age.get("audit") is not None:
        await _prune_audit(realm, of_age["audit"], deadline, removed)
    return removed


async def _prune_audit(realm: Realm, age: int | None, deadline: float, removed: _Told) -> None:
    while time.monotonic() < deadline:
        gone = 0
        for chain in await realm.read(lambda tx: audit.chains(tx, age, PORTION)):
            begun = time.monotonic()
            gone += await realm.transact(lambda tx, chain=chain: audit.prune(tx, chain, age, PORTION))  # type: ignore[misc]
            await _rest(begun)
        removed.add("audit", gone)
        if not gone:
            return


async def _prune(
    realm: Realm, kind: str, age: int | None, deadline: float, removed: _Told, space_id: UUID | None = None
) -> None:
    parameters = {"age": age, "most": 10 if kind == "uploads" else PORTION, "space_id": space_id}
    taken = 0
    while time.monotonic() < deadline and taken < _TRIES:
        begun = time.monotonic()
        if kind == "tombstones":
            gone = await realm.transact(lambda tx: tx.value("prune_tombstones", parameters))
        else:
            gone = await realm.transact(lambda tx: tx.execute(_STATEMENTS[kind], parameters))
        await _rest(begun)
        if gone is None:  # somebody pushes to the space just now
            taken += 1
            continue
        taken = 0
        removed.add(kind, gone)
        if gone < parameters["most"]:
            return


async def _pages(realm: Realm, of_age: Ages, most: int) -> AsyncIterator[list[_Space]]:
    """All spaces, page by page, those alone that have something to prune; it is counted up to `most`."""
    after = UUID(int=0)
    while True:
        parameters = {**of_age, "after": after, "spaces": _SPACES, "most": most}
        begun = time.monotonic()
        page = await realm.read(lambda tx, given=parameters: tx.all(_Space, "prunable_in_spaces", given))  # type: ignore[misc]
        if page:
            yield [space for space in page if any(space[1:])]
        if len(page) < _SPACES:
            return
        after = page[-1].space_id
        await _rest(begun)


async def _elsewhere(realm: Realm, of_age: Ages) -> _Elsewhere:
    found = await realm.read(lambda tx: tx.one(_Elsewhere, "prunable", of_age))
    return found or _Elsewhere(*[0] * len(_Elsewhere._fields))  # the statement always gives a row


async def _rest(begun: float) -> None:
    taken = time.monotonic() - begun
    await asyncio.sleep(min(_LONGEST_REST, max(_SHORTEST_REST, _REST * taken)))
