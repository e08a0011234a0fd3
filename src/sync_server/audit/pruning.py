"""Letting old lines go, where the configuration says so: the beginnings of chains, of which the last hash is kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from sync_server.audit.chain import BUCKETS
from sync_server.database import Tx

_OLD = {"buckets": list(range(BUCKETS))}


class _Chain(NamedTuple):
    chain_id: UUID


class _First(NamedTuple):
    number: int
    hash: str
    old: bool


async def count(tx: Tx, age: int | None) -> int:
    """How many lines are so old, in ms."""
    return int(await tx.value("old_audit_lines", {**_OLD, "age": age}) or 0)


async def chains(tx: Tx, age: int | None, most: int) -> Sequence[UUID]:
    """Some chains with such lines."""
    return [found.chain_id for found in await tx.all(_Chain, "old_audit_chains", {**_OLD, "age": age, "most": most})]


async def prune(tx: Tx, chain_id: UUID, age: int | None, most: int) -> int:
    """Remove up to `most` lines at the beginning of a chain, as far as all are so old; how many went."""
    first = await tx.all(_First, "first_audit_lines", {"chain_id": chain_id, "age": age, "most": most})
    old = list(takewhile(lambda line: line.old, first))
    if not old:
        return 0
    last = {"chain_id": chain_id, "number": old[-1].number, "hash": old[-1].hash}
    for statement in ("note_pruned_audit_lines", "drop_audit_details", "drop_audit_lines"):
        await tx.execute(statement, last)
    return len(old)
