"""Looking whether the audit log is as it was written: every chain from its beginning to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from sync_server.audit import contents
from sync_server.audit.chain import ADMINS, Line, digest, same
from sync_server.realms import Realm

_LINES = 200
"""That one statement reads."""
_CHAINS = 500


class End(NamedTuple):
    """The last line of a chain, as it was said elsewhere: on paper, in another system."""

    number: int
    hash: str


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with a chain, and at which of its lines; 0: with the rows that the pushes have led to."""

    chain: UUID
    number: int
    problem: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that was looked at. What is erased or pruned is as it should be; it can no longer be looked at."""

    chain: UUID
    lines: int
    number: int
    """Of the last line, and its hash."""
    hash: str
    erased: int
    """Lines of users who are gone, without what was personal."""
    pruned: int
    """Lines whose changes retention has removed from the history."""
    uncovered: int
    """Changes in the history that no line covers."""
    findings: Sequence[Finding]


class StoredEnd(NamedTuple):
    """What the database says of the end of a chain; `pruned`: the last line that retention has removed."""

    number: int
    hash: str
    pruned: int
    pruned_hash: str
    now: int


class StoredLine(NamedTuple):
    """A line with its details, as they stand in the database."""

    chain_id: UUID
    number: int
    at: int
    action: str
    entity: str
    entity_id: str
    stamp: int | None
    changes: int | None
    user_id: UUID | None
    realm: str | None
    role: str | None
    client_id: UUID | None
    via: str
    request_id: str | None
    content_digest: str
    address_digest: str
    hash: str
    details: int | None
    content: str | None
    content_salt: str | None
    address: str | None
    address_salt: str | None
    subject: UUID | None
    actor: UUID | None

    @property
    def line(self) -> Line:
        return Line(**{name: getattr(self, name) for name in Line._fields})


async def verify(realm: Realm, known: Mapping[UUID, End] | None = None) -> AsyncIterator[Verified]:
    """Look at every chain of a realm. `known`: ends of chains from earlier, which must still be lines of them.

    Devices may sync meanwhile. Raises Unavailable.
    """
    known = dict(known or {})
    yield await _Look(realm, ADMINS, known.pop(ADMINS, None)).through()
    after = ADMINS
    while chains := await _chains(realm, after):
        for chain in chains:
            yield await _Look(realm, chain, known.pop(chain, None)).through()
        after = chains[-1]
    for chain, end in known.items():
        gone = Finding(chain, end.number, "the chain is gone")
        yield Verified(
            chain=chain,
            lines=0,
            number=0,
            hash="",
            erased=0,
            pruned=0,
            uncovered=0,
            findings=[gone] if end.number else [],
        )


class _Id(NamedTuple):
    chain_id: UUID


async def _chains(realm: Realm, after: UUID) -> list[UUID]:
    parameters = {"after": after, "rows": _CHAINS}
    return [found.chain_id for found in await realm.read(lambda tx: tx.all(_Id, "chains_after", parameters))]


class _Look:
    """At one chain, line by line."""

    def __init__(self, realm: Realm, chain: UUID, known: End | None) -> None:
        self._realm = realm
        self._chain = chain
        self._known = known
        self._findings: list[Finding] = []
        self._number, self._hash = 0, ""
        self._lines = self._erased = 0
        self._contents = contents.Look(realm, chain)

    async def through(self) -> Verified:
        """The end is asked for first: pushes go on, and lines that come after it are further ones."""
        end = await self._end()
        self._number, self._hash = end.pruned, end.pruned_hash
        while page := await self._page():
            for stored in page:
                self._line(stored, end)
            for number, problem in await self._contents.through(page, end.now):
                self._find(number, problem)
        await self._compare(end)
        for problem in await self._contents.rows():
            self._find(0, problem)
        return Verified(
            chain=self._chain,
            lines=self._lines,
            number=self._number,
            hash=self._hash,
            erased=self._erased,
            pruned=self._contents.pruned,
            uncovered=self._contents.uncovered,
            findings=self._findings,
        )

    def _find(self, number: int, problem: str) -> None:
        self._findings.append(Finding(self._chain, number, problem))

    async def _end(self) -> StoredEnd:
        end = await self._realm.read(lambda tx: tx.one(StoredEnd, "end_of_chain", {"chain_id": self._chain}))
        return end or StoredEnd(0, "", 0, "", 0)  # the statement always gives a row

    async def _page(self) -> Sequence[StoredLine]:
        parameters = {"chain_id": self._chain, "after": self._number, "rows": _LINES}
        return await self._realm.read(lambda tx: tx.all(StoredLine, "lines_of_chain", parameters))

    def _line(self, stored: StoredLine, end: StoredEnd) -> None:
        if stored.number != self._number + 1:
            first, last = self._number + 1, stored.number - 1
            self._find(first, f"lines {first} to {last} are missing" if last > first else f"line {first} is missing")
        elif not same(stored.hash, stored.line.hash(self._hash)):
            self._find(stored.number, "changed, or the line before it was")
        self._details(stored)
        for known in (end, self._known):
            if known is not None and known.number == stored.number and known.hash != stored.hash:
                what = "the end of the chain" if known is end else "what was noted earlier"
                self._find(stored.number, f"its hash is not that of {what}")
        self._number, self._hash = stored.number, stored.hash
        self._lines += 1

    def _details(self, stored: StoredLine) -> None:
        if stored.details is None:
            self._find(stored.number, "its details are missing")
            return
        self._erased += stored.content_salt is None or stored.address_salt is None
        if stored.content_salt is None:
            if stored.subject is not None:
                self._find(stored.number, "its values were erased, but the user is there")
        elif stored.stamp is None and not same(stored.content_digest, digest(stored.content_salt, stored.content)):
            self._find(stored.number, "its values were changed")
        if stored.address_salt is None:
            if stored.actor is not None:
                self._find(stored.number, "its address was erased, but the user is there")
        elif not same(stored.address_digest, digest(stored.address_salt, stored.address)):
            self._find(stored.number, "its address was changed")

    async def _compare(self, end: StoredEnd) -> None:
        """The chain must reach its end, and what was noted of it, and not go beyond what it is now."""
        noted = max(end.number, self._known.number if self._known else 0)
        if self._number < noted:
            self._find(self._number + 1, f"missing from here on: the chain had {noted} lines")
        elif self._number > end.number and (await self._end()).number < self._number:
            self._find(end.number + 1, "added behind the end of the chain")
