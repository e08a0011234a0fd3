"""Looking whether the history has what pushes changed as it was when they came."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from sync_server.audit.chain import same
from sync_server.realms import Realm

if TYPE_CHECKING:
    from sync_server.audit.verifying import StoredLine

_CHANGES = 5000
"""That one statement reads, about."""
_DAY = 86_400_000
_SHOWN = 100


class _Digest(NamedTuple):
    stamp: int
    ordinal: int
    digest: str | None


class _Row(NamedTuple):
    tablename: str
    rowguid: str


class Look:
    """At the changes of one space, page of lines by page."""

    def __init__(self, realm: Realm, space_id: UUID) -> None:
        self._realm = realm
        self._space_id = space_id
        self._after: int | None = None
        """The stamp up to which the history was looked at; what was there before the chain began is not covered by it."""
        self.pruned = 0
        self.uncovered = 0

    async def through(self, lines: Sequence[StoredLine], now: int) -> list[tuple[int, str]]:
        """What is wrong with the changes of the pushes among `lines`, by their numbers."""
        found: list[tuple[int, str]] = []
        for pushes in _portions([line for line in lines if line.stamp is not None]):
            digests = await self._digests(pushes)
            found += [
                (push.number, problem)
                for push in pushes
                if push.content_salt is not None and (problem := self._problem(push, digests[push.stamp or 0], now))
            ]
        return found

    async def rows(self) -> list[str]:
        """Which rows of the space were changed past the history, some at most."""
        parameters = {"space_id": self._space_id, "rows": _SHOWN}
        found = await self._realm.read(lambda tx: tx.all(_Row, "rows_unlike_history", parameters))
        return [f"the row {row.tablename}/{row.rowguid} is not what the history says" for row in found]

    async def _digests(self, pushes: Sequence[StoredLine]) -> dict[int, list[str]]:
        """Those of the changes of each push, by its stamp."""
        stamps = [push.stamp for push in pushes if push.stamp is not None]
        after = min(stamps) - 1 if self._after is None else self._after
        parameters = {
            "space_id": self._space_id,
            "stamps": stamps,
            "salts": [push.content_salt or "" for push in pushes],
            "after": after,
            "up_to": max(stamps),
        }
        digests: dict[int, list[str]] = defaultdict(list)
        for change in await self._realm.read(lambda tx: tx.all(_Digest, "digests_of_changes", parameters)):
            if change.digest is None:
                self.uncovered += 1
            else:
                digests[change.stamp].append(change.digest)
        self._after = max(stamps)
        return digests

    def _problem(self, push: StoredLine, digests: Sequence[str], now: int) -> str | None:
        if len(digests) < (push.changes or 0) and self._may_be_pruned(push, now):
            self.pruned += 1
            return None
        if len(digests) != push.changes:
            return f"the history has {len(digests)} of its {push.changes} changes"
        computed = hashlib.sha256(" ".join(digests).encode()).hexdigest()
        return None if same(push.content_digest, computed) else "what it changed is not what the history says"

    def _may_be_pruned(self, push: StoredLine, now: int) -> bool:
        days = self._realm.settings.retention.history
        return days is not None and push.stamp is not None and push.stamp <= now - days * _DAY


def _portions(pushes: Sequence[StoredLine]) -> Iterator[list[StoredLine]]:
    portion: list[StoredLine] = []
    for push in pushes:
        portion.append(push)
        if sum(each.changes or 0 for each in portion) >= _CHANGES:
            yield portion
            portion = []
    if portion:
        yield portion
