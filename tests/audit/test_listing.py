"""The log is listed along indexes: the thousandth page costs what the first does, whatever is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from audit.conftest import Database
from audit.test_verifying import tampering
from sync_server.audit.chain import BUCKETS
from sync_server.database import queries

LINES, PAGE = 20_000, 50
SOMEBODY, SPACE = UUID(int=7), UUID(int=9)


@pytest.fixture(scope="module")
def full(migrated: str) -> Iterator[Database]:
    """Many lines in one chain, of one user."""
    with tampering(Database(migrated)) as database:
        database.connection.execute("TRUNCATE sync.audit_lines, sync.audit_details, sync.audit_chains")
        database.connection.execute(
            """
            INSERT INTO sync.audit_lines (chain_id, number, bucket, at, action, entity, entity_id, stamp, changes, user_id,
                via, content_digest, address_digest, hash)
            SELECT %s, n, n %% 16, n, 'rows.push', 'space', %s, n, 1, %s, 'wire', '', '', '' FROM generate_series(1, %s) n
            """,
            [SPACE, str(SPACE), SOMEBODY, LINES],
        )
        database.connection.execute(
            """
            INSERT INTO sync.history
                (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date, row_data)
            SELECT %s, n, 1, %s, %s, 'todos', n::text, 'U', n, '{}' FROM generate_series(1, %s) n
            """,
            [SPACE, SOMEBODY, SOMEBODY, LINES],
        )
        database.connection.execute("ANALYZE sync.audit_lines, sync.history, sync.audit_details")
        yield database
    database.connection.close()


def read(database: Database, name: str, at: int, **wanted: Any) -> int:
    """Rows that a page behind `at` takes from tables and indexes."""
    parameters = {
        **dict.fromkeys(("user_id", "entity", "entity_id", "action", "tablename", "rowguid")),
        "since": 0,
        "until": 2**60,
        "after_at": at,
        "after_chain": UUID(int=2**128 - 1),
        "after_number": 2**62,
        "after_ordinal": 2**31 - 1,
        "rows": PAGE,
        "buckets": list(range(BUCKETS)),
        "most": 1000,
        **wanted,
    }
    explain = f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {queries('sync')[name]}"
    [found] = database.connection.execute(explain.encode(), parameters).fetchall()
    plan = found["QUERY PLAN"]
    return _scanned((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])


def _scanned(node: dict[str, Any]) -> int:
    own = 0
    if node["Node Type"].endswith("Scan") and "Relation Name" in node:
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        own = round((node["Actual Rows"] + removed) * node["Actual Loops"])
    return own + sum(_scanned(child) for child in node.get("Plans", []))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("audit_lines_by_time", {}),
        ("audit_lines_by_time", {"action": "rows.push"}),
        ("audit_lines_by_user", {"user_id": SOMEBODY}),
        ("audit_lines_by_entity", {"entity_id": str(SPACE)}),
        ("audited_changes", {}),
        ("audited_changes_by_user", {"user_id": SOMEBODY, "tablename": "todos"}),
    ],
)
def test_a_page_reads_little_however_deep_it_is(full: Database, name: str, wanted: dict[str, Any]) -> None:
    first, deep = read(full, name, 2**60, **wanted), read(full, name, LINES // 2, **wanted)
    # of each sixteenth a page, and for changes their lines of the history and what those replaced
    assert PAGE <= first <= 4 * BUCKETS * PAGE
    assert PAGE <= deep <= 4 * BUCKETS * PAGE


def test_two_dates_narrow_what_is_read(full: Database) -> None:
    wanted = {"since": 5_000, "until": 5_100, "rowguid": "5050", "tablename": "todos"}
    assert read(full, "audited_changes", 2**60, **wanted) <= 500
