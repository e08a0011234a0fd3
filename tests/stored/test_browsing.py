"""Lists walk an index from their cursor on: the hundredth page costs what the first does."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from operators import within
from postgres import Postgres
from sync_server.database import Tx, queries
from sync_server.stored import rows
from sync_server.stored.versions import RowKey

BIG = uuid.UUID(int=1 << 100)
"""The space of somebody with many rows, in the middle of those of others."""
MANY = 20_000


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    url = postgres.create_migrated("browsing")
    with psycopg.connect(url, autocommit=True) as connection:
        identity = "('00000000-0000-0000-' || lpad(i::text, 4, '0') || '-000000000000')::uuid"
        connection.execute(f"INSERT INTO sync.spaces (id) SELECT {identity} FROM generate_series(1, 300) i".encode())
        connection.execute("INSERT INTO sync.spaces (id) VALUES (%s)", [BIG])
        fill = """
            INSERT INTO sync.rows (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal,
                client_id)
            SELECT s.id, 't' || i %% 10, 'g' || i, CASE WHEN i %% 2 = 0 THEN 'D' ELSE 'U' END,
                CASE WHEN i %% 2 = 1 THEN '{"title": "x' || i || '"}' END, i, i, i, 1, s.id
            FROM sync.spaces s, generate_series(1, CASE WHEN s.id = %s THEN %s ELSE 5 END) i
        """
        connection.execute(fill.encode(), [BIG, MANY])
        connection.execute(
            "INSERT INTO sync.overridden (space_id, tablename, rowguid, operation, row_data, client_date, client_id, stamp)"
            " SELECT space_id, tablename, rowguid, operation, row_data, client_date, client_id, stamp FROM sync.rows"
        )
        connection.execute(
            "INSERT INTO sync.history (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation,"
            " client_date, old_data) SELECT space_id, stamp, ordinal, space_id, client_id, tablename, rowguid, operation,"
            " client_date, CASE WHEN operation = 'D' THEN '{\"title\": \"x' || stamp || '\"}' END FROM sync.rows"
        )
        connection.execute("ANALYZE")
        yield connection


def looked_at(connection: psycopg.Connection[Any], name: str, table: str, parameters: dict[str, Any]) -> int:
    """Rows of the table that the statement read, of its indexes or otherwise."""
    text = re.sub(r"%\((\w+)\)b", r"%(\1)s", queries("sync")[name])
    explained = connection.execute(f"EXPLAIN (ANALYZE, TIMING off, COSTS off) {text}".encode(), parameters).fetchall()
    plan = "\n".join(line for (line,) in explained)
    assert f"Seq Scan on {table}" not in plan, plan
    scans = re.findall(rf"Scan.*? on {table}\b.*?actual rows=([\d.]+) loops=(\d+)", plan)
    assert scans, plan
    return sum(round(float(number) * int(loops)) for number, loops in scans)


def browsing(**given: Any) -> dict[str, Any]:
    beginning = {"least": uuid.UUID(int=0), "last": uuid.UUID(int=(1 << 128) - 1), "stamp": 2**63 - 1, "ordinal": 0}
    filters = {
        "tablename": None,
        "search": None,
        "search_data": None,
        "gone": None,
        "since": -(2**63),
        "until": 2**63 - 1,
    }
    return {**beginning, **filters, "spaces": 200, "look": 2000, "fetch": 50, **given}


@pytest.mark.parametrize("of", [{}, {"least": BIG, "last": BIG}])
@pytest.mark.parametrize("filters", [{}, {"tablename": "t3"}, {"search": "nothing", "search_data": "nothing"}])
@pytest.mark.parametrize("depth", [0, 10_000, 19_000])
def test_a_page_of_rows_looks_at_so_many_at_any_depth(
    filled: psycopg.Connection[Any], of: dict[str, Any], filters: dict[str, Any], depth: int
) -> None:
    place = {"last": BIG, "stamp": MANY - depth} if depth else {}
    looked = looked_at(filled, "browse_rows", "rows", browsing(**{**of, **filters, **place}))
    # of the last space that it comes to, it may read as many as a page has
    assert looked <= 2 * 2000 + 10
    assert looked_at(filled, "browse_rows", "history", browsing(**{**of, **filters, **place})) <= 2000


def test_dates_are_found_by_the_index(filled: psycopg.Connection[Any]) -> None:
    of = {"least": BIG, "last": BIG, "since": 100, "until": 110}
    assert looked_at(filled, "browse_rows", "rows", browsing(**of)) == 10


@pytest.mark.parametrize("depth", [0, 10_000, 19_000])
@pytest.mark.parametrize("statement", ["open_conflicts", "all_conflicts"])
def test_a_page_of_conflicts_looks_at_so_many_at_any_depth(
    filled: psycopg.Connection[Any], statement: str, depth: int
) -> None:
    place = {"stamp": MANY - depth, "id": uuid.UUID(int=0)} if depth else {"id": uuid.UUID(int=(1 << 128) - 1)}
    looked = looked_at(filled, statement, "overridden", browsing(**place, fetch=51))
    assert looked <= 51 + 300 * 8, "the plan tells averages, rounded before PostgreSQL 18"


@pytest.mark.parametrize("depth", [0, 10_000, 19_000])
def test_a_page_of_history_looks_at_so_many_at_any_depth(filled: psycopg.Connection[Any], depth: int) -> None:
    of = {"space_id": BIG, "tablename": "t3", "rowguid": "g3", "stamp": MANY - depth + 1, "ordinal": 0, "look": 1000}
    assert looked_at(filled, "recorded_versions", "history", {**of, "fetch": 50}) <= 1000


def test_pages_go_on_through_all_spaces(filled: psycopg.Connection[Any]) -> None:
    """There are more than one page looks into."""

    async def walk(tx: Tx) -> list[RowKey]:
        keys, place = [], None
        for _ in range(100):
            found, place = await rows.browse(tx, rows.Wanted(tablename="t4"), place, 200)
            keys += [RowKey(*row[:3]) for row in found]
            if place is None:
                return keys
        raise AssertionError("no end")

    keys = within(filled, walk)
    assert len(keys) == len(set(keys)) == 300 + MANY // 10


def test_what_was_deleted_is_found_by_its_text(filled: psycopg.Connection[Any]) -> None:
    wanted = rows.Wanted(search="X444")
    place = (BIG, 1000, 0)
    found, _ = within(filled, lambda tx: rows.browse(tx, wanted, place, 10))
    assert [(row.operation, row.preview, row.deleted_preview) for row in found] == [("D", None, '{"title": "x444"}')]


def test_a_name_for_the_bounds_that_the_readme_quotes() -> None:
    assert (rows.LOOK, rows.LOOK_AT_HISTORY) == (2000, 50_000)
