"""The file: gzipped JSON Lines. Objects say what comes, arrays are rows.

    {"format": "sync-server backup", "version": 1, "realm": …, "taken_at": …, "migrations": […], …}
    {"table": "rows", "columns": [["space_id", "uuid"], …]}
    ["6f0c…", "notes", …]
    {"rows": 1, "digest": "…"}
    …
    {"tables": {"rows": {"rows": 1, "digest": "…"}, …}}

A file without the last line is incomplete. A table's digest is the sum of its lines' SHA-256, so it does not depend on their
order, in which databases differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, TypeVar

import msgspec
from isal import igzip, isal_zlib

from sync_server.backup.tables import Column
from sync_server.complaint import Complaint

T = TypeVar("T")
FORMAT = "sync-server backup"
VERSION = 1
_LEVEL = 2
_gzip: Any = igzip.IGzipFile  # which has no types
_DAMAGE: Any = (EOFError, OSError, isal_zlib.error)
_AT_ONCE = 256 * 1024
"""Bytes that go to be compressed together."""


class BackupError(Complaint):
    """A backup cannot be taken, read or restored; one line says why and what is to be done."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of."""

    format: str = FORMAT
    version: int = VERSION
    realm: str
    server: str
    """The version of the server that wrote it."""
    database: str
    taken_at: str
    """RFC 3339, by the database's clock: the moment of which it is a picture."""
    migrations: list[str]
    rows: int
    """Of all tables, for whoever waits."""
    history: str | None = None
    """The realm's setting: `changes` or `full`."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    table: str
    columns: list[Column]


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a table holds."""

    rows: int
    digest: str


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tables: dict[str, Count]


class Digest:
    """Counts lines and sums up their digests."""

    def __init__(self) -> None:
        self._rows = self._sum = 0

    def add(self, line: bytes) -> None:
        self._rows += 1
        self._sum += int.from_bytes(hashlib.sha256(line).digest())

    @property
    def count(self) -> Count:
        return Count(self._rows, f"{self._sum % (1 << 256):064x}")


class Writer:
    """Writes a backup to a stream."""

    def __init__(self, stream: IO[bytes], head: Head) -> None:
        self._compressed: IO[bytes] = _gzip(fileobj=stream, mode="wb", compresslevel=_LEVEL, mtime=0)
        self._waiting = bytearray()
        self._tables: dict[str, Count] = {}
        self._say(head)

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[tuple[Any, ...]]) -> Count:
        """Write all of a table; what was written."""
        self._say(_Table(name, list(columns)))
        digest = Digest()
        for line in lines(rows):
            digest.add(line)
            self._write(line)
        self._tables[name] = digest.count
        self._say(digest.count)
        return digest.count

    def end(self) -> None:
        self._say(_End(self._tables))
        self._compressed.write(self._waiting)
        self._compressed.close()

    def _say(self, what: msgspec.Struct) -> None:
        self._write(msgspec.json.encode(what))

    def _write(self, line: bytes) -> None:
        self._waiting += line
        self._waiting += b"\n"
        if len(self._waiting) >= _AT_ONCE:
            self._compressed.write(self._waiting)
            self._waiting.clear()


def lines(rows: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """Rows as they stand in the file."""
    encode = msgspec.json.Encoder().encode
    return map(encode, rows)


class Reader:
    """Reads a backup from a stream, once, from beginning to end. Every method raises BackupError where it is damaged."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines = self._read(_gzip(fileobj=stream, mode="rb"))
        self._tables: dict[str, Count] = {}
        self.columns: dict[str, list[Column]] = {}
        """Of the tables that were read."""
        self.head = self._said(next(self._lines), Head)
        if self.head.format != FORMAT:
            raise BackupError("this is no backup of a sync-server")
        if self.head.version != VERSION:
            raise BackupError("this backup was written by a newer sync-server: restore it with that version")

    def tables(self) -> Iterator[tuple[str, list[Column], Iterator[list[Any]]]]:
        """Each table's name, columns and rows, of which all must be taken before the next table."""
        for line in self._lines:
            if line.startswith(b'{"tables":'):
                self._end(self._said(line, _End))
                return
            table = self._said(line, _Table)
            self.columns[table.table] = table.columns
            yield table.table, table.columns, self._rows(table)

    def _rows(self, table: _Table) -> Iterator[list[Any]]:
        digest = Digest()
        width = len(table.columns)
        for line in self._lines:
            if not line.startswith(b"["):
                break
            digest.add(line)
            row = self._said(line, list[Any])
            if len(row) != width:
                raise BackupError(f"the backup is damaged: a row of {table.table} has too many values, or too few")
            yield row
        if self._said(line, Count) != digest.count:
            raise BackupError(f"the backup is damaged: {table.table} is not what was written")
        self._tables[table.table] = digest.count

    def _end(self, end: _End) -> None:
        if end.tables != self._tables:
            raise BackupError("the backup is damaged: its tables are not those that were written")
        if next(self._lines, None) is not None:
            raise BackupError("the backup is damaged: something follows its end")

    @property
    def counts(self) -> dict[str, Count]:
        """Of the tables that were read."""
        return self._tables

    @staticmethod
    def _read(compressed: IO[bytes]) -> Iterator[bytes]:
        line = b""
        try:
            for line in compressed:
                yield line[:-1]
        except _DAMAGE as exc:
            raise BackupError(f"the backup is damaged or incomplete: {exc}") from exc
        if not line.startswith(b'{"tables":'):
            raise BackupError("the backup is incomplete: its end is missing")

    @staticmethod
    def _said(line: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(line, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise BackupError(f"the backup is damaged: {exc}") from exc
