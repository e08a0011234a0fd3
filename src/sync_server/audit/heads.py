"""Ends of chains in a file, to be kept where nobody who can write to the database can write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from sync_server.audit.verifying import End
from sync_server.complaint import Complaint


class HeadsError(Complaint):
    """The file of ends cannot be read or written."""


class Head(NamedTuple):
    realm: str
    chain: UUID
    number: int
    hash: str


def write(path: Path, heads: Iterable[Head]) -> None:
    """A JSON array per line. Raises HeadsError."""
    try:
        path.write_bytes(b"".join(msgspec.json.encode(head) + b"\n" for head in heads))
    except OSError as exc:
        raise HeadsError(f"{path}: {exc.strerror}") from exc


def read(path: Path) -> Mapping[str, Mapping[UUID, End]]:
    """By realm and chain. Raises HeadsError."""
    found: dict[str, dict[UUID, End]] = defaultdict(dict)
    try:
        for line in path.read_bytes().splitlines():
            head = msgspec.json.decode(line, type=Head)
            found[head.realm][head.chain] = End(head.number, head.hash)
    except (OSError, msgspec.DecodeError) as exc:
        raise HeadsError(f"{path}: not a file that `audit verify --save-heads` has written: {exc}") from exc
    return found
