"""The pages of a long pull: however they are read, the device is told the same."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
import pytest

from postgres import Postgres
from sync_server import migrations
from sync_server.database import Tx
from sync_server.sync import pages
from sync_server.sync.pages import PAGE_PARTS, PART_ROWS, SMALL, Place, PullUnderWay

CLIENT = uuid.UUID(int=7)
STRANGE = [
    *(chr(code) for code in range(1, 0x20)), '"', "\\", "'", "/", "</script>", "\x7f", "\x80", "é", "\u2028", "\ufeff",
    "\uffff", "\U0001f9a9", "a\\u0000b", "%", "", " ", "null",
]  # fmt: skip
DATA = ["{}", '{"n":1.0}', '{ "b" : 12345678901234567890,\n\t"a":"\\u0000 \\ud800 \\" é\U0001f9a9"}', None]
ROWS = 6000
FIRST_STAMP = 10


class Version(NamedTuple):
    stamp: int
    ordinal: int
    tablename: str
    rowguid: str
    operation: str
    row_data: str | None
    client_date: int

    def told(self) -> dict[str, Any] | None:
        """What a device hears of it, if anything."""
        if self.operation == "D" and self.stamp <= FIRST_STAMP:
            return None
        said = {"operation": self.operation, "rowguid": self.rowguid, "tablename": self.tablename}
        dates = {"clientdate": self.client_date, "serverdate": self.stamp, "clientid": str(CLIENT)}
        return {**said, **dates, "rowData": json.loads(self.row_data or "null")}


def versions(large: Sequence[int]) -> list[Version]:
    """In their order, 300 of a stamp, so that pages end in the middle of one.

    Rows deleted before and after the device's first pull are among them.
    """
    made: list[Version] = []
    for number in range(ROWS):
        operation = "D" if number % 7 == 0 else "IU"[number % 2]
        data = None if operation == "D" else DATA[number % len(DATA)]
        if number in large:
            operation, data = "U", json.dumps({"title": "x" * SMALL})
        table, guid = STRANGE[-number % len(STRANGE)], f"{STRANGE[number % len(STRANGE)]}{number}"
        made.append(Version(number // 300, 10 + number % 300, table, guid, operation, data, number - 5))
    return made


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    url = postgres.create_database("pages")
    migrations.migrate(url)
    return url


def store(url: str, rows: Sequence[Version]) -> uuid.UUID:
    """A new space with these rows."""
    space_id = uuid.uuid4()
    columns = f"space_id, {', '.join(Version._fields)}, rank, client_id"
    with (
        psycopg.connect(url, autocommit=True) as connection,
        connection.cursor().copy(f"COPY sync.rows ({columns}) FROM STDIN".encode()) as copy,
    ):
        for row in rows:
            copy.write_row((space_id, *row, 0, CLIENT))
    return space_id


class Told(Tx):
    """Notes by which statements pages were read."""

    names: list[str]

    async def one(self, kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
        self.names.append(name)
        return await super().one(kind, name, parameters)


async def walk(url: str, space_id: uuid.UUID, *, small: bool) -> tuple[list[str], bytes, int]:
    """All pages: the statements that were asked for them, what they say together, and of how many rows.

    `small`: whether rows may be taken for small if those before were.
    """
    pull = PullUnderWay(space_id, uuid.uuid4(), 0, 0, ROWS, FIRST_STAMP, ())
    place: Place | None = Place(-1, 0)
    names, lines, delivered, parts = list[str](), list[bytes](), 0, 1
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        tx = Told(connection, "sync")
        tx.names = names
        while place is not None:
            async with connection.transaction():
                page = await pages.next_page(tx, pull, place, parts)
            lines += [page.lines] if page.lines else []
            delivered, parts = delivered + page.delivered, PAGE_PARTS
            place = page.next if small or page.next is None else page.next._replace(small=False)
    return names, b",".join(lines), delivered


@pytest.mark.parametrize(
    ("large", "read"),
    [
        pytest.param([], "pssssss", id="none"),
        pytest.param([0], "ppsssss", id="in the first page"),
        pytest.param([1000], "psppssss", id="at the beginning of a part"),
        pytest.param([1999], "psppssss", id="at the end of a part"),
        pytest.param([5999], "pssssspp", id="at the end"),
        pytest.param([1000, 2000, 3500, 4999, 5000], "pspppppp", id="in every part"),
    ],
)
def test_g7_pages_of_small_rows_say_what_pages_of_any_rows_say(url: str, large: list[int], read: str) -> None:
    rows = versions(large)
    space_id = store(url, rows)
    names, text, delivered = asyncio.run(walk(url, space_id, small=True))
    told = [line for row in rows if (line := row.told())]
    assert json.loads(b"[" + text + b"]") == told
    assert delivered == len(told)
    assert (text, delivered) == asyncio.run(walk(url, space_id, small=False))[1:]
    assert ROWS == (1 + PAGE_PARTS + 1) * PART_ROWS
    assert "".join(name.removeprefix("page_of_")[0] for name in names) == read
