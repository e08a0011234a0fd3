"""The SQL: every named statement fits the schema, and a call's number of statements does not grow with its rows."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from postgres import Postgres
from sync_server import migrations
from sync_server.accounts.tokens import Device
from sync_server.audit import Acting
from sync_server.database import Tx, queries, sql_directory
from sync_server.statements import Statement
from sync_server.sync import engine, pages, protocol, pushing

NAMES = sorted(queries("sync"))


def numbered(text: str) -> tuple[str, int]:
    """A statement with psycopg's named parameters as PostgreSQL's numbered ones, and their number."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return re.sub(r"%\((\w+)\)[sb]", number, text), len(names)


@pytest.fixture(scope="module")
def migrated_url(postgres: Postgres) -> str:
    url = postgres.create_database("statements")
    migrations.migrate(url)
    migrations.migrate(url, "elsewhere")
    return url


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_can_be_planned(migrated_url: str, name: str) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        for schema in ("sync", "elsewhere"):
            text, count = numbered(queries(schema)[name])
            connection.execute(f"PREPARE statement AS {text}")
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            assert connection.execute(f"EXPLAIN EXECUTE statement{nulls}").fetchall()
            connection.execute("DEALLOCATE statement")


@pytest.mark.parametrize("name", NAMES)
def test_no_statement_names_another_schema(name: str) -> None:
    assert "sync." not in queries("elsewhere")[name].replace('"elsewhere".', "")


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_is_used(name: str) -> None:
    source = sql_directory().parent / "src" if (sql_directory().parent / "src").is_dir() else sql_directory().parent
    assert any(f'"{name}"' in path.read_text() for path in source.rglob("*.py")), f"nobody runs {name}"


def test_statements_of_one_file_stand_in_it_once() -> None:
    for file in Path(sql_directory() / "queries").glob("*.sql"):
        names = re.findall(r"^-- name: (\w+)$", file.read_text(), re.MULTILINE)
        assert len(names) == len(set(names))


class CountingTx(Tx):
    """Counts the statements that go to the database."""

    count = 0

    async def execute(self, name: str, parameters: Mapping[str, Any]) -> int:
        self.count += 1
        return await super().execute(name, parameters)

    async def one(self, kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
        self.count += 1
        return await super().one(kind, name, parameters)

    async def all(self, kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
        self.count += 1
        return await super().all(kind, name, parameters)

    async def value(self, name: str, parameters: Mapping[str, Any]) -> Any:
        self.count += 1
        return await super().value(name, parameters)


def make_client(url: str, user_id: uuid.UUID) -> Device:
    client_id = uuid.uuid4()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO sync.spaces (id) VALUES (%s) ON CONFLICT DO NOTHING", [user_id])
        connection.execute(
            "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)"
            " VALUES (%s, %s, %s, %s, '', '') ON CONFLICT DO NOTHING",
            [user_id, user_id, str(user_id), str(user_id)],
        )
        connection.execute("INSERT INTO sync.clients (id, user_id) VALUES (%s, %s)", [client_id, user_id])
        connection.execute("INSERT INTO sync.syncs VALUES (%s, 0, 0)", [client_id])
    return Device("main", user_id, client_id, epoch=0, session=0, sync_number=0, token_id="token")


def body(device: Device, rows: int, *, base: int = 0) -> bytes:
    changes = [
        {
            "operation": "I",
            "rowguid": f"row{number}",
            "tablename": "todos",
            "clientdate": base + number,
            "rowData": {"n": number},
        }
        for number in range(rows)
    ]
    return json.dumps({"clientId": str(device.client_id), "lastSync": 0, "isPartial": 0, "changes": changes}).encode()


async def statements_of_a_sync(url: str, device: Device, sent: bytes) -> tuple[int, int, int]:
    """Statements of the pull, those of the push, and the rows that were pulled."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        pulls, pushes = CountingTx(connection, "sync"), CountingTx(connection, "sync")
        pull = protocol.decode_pull(sent, device.client_id)
        begun = await engine.begin_pull_at_once(pulls, device, pull, durably=True)
        push = protocol.decode_push(sent, device.client_id)
        assert await pushing.push_at_once(pushes, device, push, Acting(via="wire"))
    assert begun is not None
    return pulls.count, pushes.count, begun[1].lines.count(b'"operation"')


def test_the_number_of_statements_does_not_grow_with_the_rows(migrated_url: str) -> None:
    """New rows, conflicts on all of them, and pulls of all of them: always the same few statements."""
    counts: set[tuple[int, ...]] = set()
    for rows in (1, 10, 900):
        user_id = uuid.uuid4()
        first, second = make_client(migrated_url, user_id), make_client(migrated_url, user_id)
        counts.add(asyncio.run(statements_of_a_sync(migrated_url, first, body(first, rows)))[:2])
        *conflicting, pulled = asyncio.run(statements_of_a_sync(migrated_url, second, body(second, rows, base=-1)))
        assert pulled == rows, "the older edits lose, so the stored versions are pulled"
        counts.add(tuple(conflicting))
    assert counts == {(1, 1), (3, 1)}, "a first pull of nothing, one of rows, and pushes"


@pytest.mark.parametrize("name", ["page_of_pull", "page_of_small_rows"])
def test_a_page_of_a_long_pull_walks_the_index_whatever_the_statistics_say(migrated_url: str, name: str) -> None:
    """PostgreSQL expects few rows in each space here, so it would sort all that is left of the space, for every page."""
    space_id = uuid.uuid4()
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        fill = """INSERT INTO sync.rows SELECT %s, 't', 'g' || i, 'I', '{}', i, i, i, 1, %s FROM generate_series(1, %s) i"""
        for _ in range(100):
            connection.execute(fill, [uuid.uuid4(), uuid.uuid4(), 5])
        connection.execute("ANALYZE sync.rows")
        connection.execute(fill, [space_id, uuid.uuid4(), 20_000])
        parameters = {
            "tablenames": ["t"] * 500,
            "rowguids": [f"g{number}" for number in range(500)],
            "client_dates": [0] * 500,
            "space_id": space_id,
            "client_id": uuid.uuid4(),
            "first_stamp": 0,
            "from_": 1000,
            "to": 20_000,
            "after_stamp": 1000,
            "after_ordinal": 1,
            "rows": 1000,
            "bytes": 1_000_000,
            "small": pages.SMALL,
            "anew": False,
        }
        with connection.transaction():
            connection.execute(queries("sync")["plan_by_index"])
            explain = f"EXPLAIN (ANALYZE, TIMING off) {queries('sync')[name]}"
            plan = "\n".join(line for (line,) in connection.execute(explain, parameters))
            connection.execute("DELETE FROM sync.rows")
    walked = re.search(r"Index Scan using rows_by_stamp on rows .*?actual rows=(\d+)", plan)
    assert walked, plan
    assert int(walked[1]) == 1000, plan
    assert "Nested Loop" not in plan, plan
    assert name == "page_of_pull" or "Sort" not in plan, plan


@pytest.mark.parametrize("name", ["push_changes", "push_changes_audited"])
def test_a_push_does_not_look_through_the_rows_of_a_space_that_has_nearly_all(migrated_url: str, name: str) -> None:
    """Where the statistics know of one space and one client only: a plan by them read a million rows for each push."""
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        if connection.info.server_version < 160000:
            pytest.skip("cannot explain a plan for any values")
        connection.execute("TRUNCATE sync.rows")
        # with short rows it would take an index anyway
        fill = """INSERT INTO sync.rows SELECT %s, 't', 'g' || i, 'I', %s, i, i, i, 1, %s FROM generate_series(1, 30000) i"""
        connection.execute(fill, [uuid.uuid4(), "x" * 300, uuid.uuid4()])
        connection.execute("VACUUM ANALYZE sync.rows")
        explain = b"EXPLAIN (GENERIC_PLAN) " + Statement(queries("sync")[name]).text
        plan = "\n".join(line for (line,) in connection.execute(explain))
        connection.execute("TRUNCATE sync.rows")
    assert "rows_by_stamp" in plan
    assert not re.search(r"Seq Scan on rows\b", plan), plan


PULLS = [
    "begin_pull",
    "begin_pull_with_pending",
    "begin_pull_quietly",
    "begin_pull_durably",
    "page_of_pull",
    "page_of_small_rows",
]


@pytest.mark.parametrize("name", PULLS)
def test_a_pull_of_a_big_space_is_not_planned_anew_each_time(migrated_url: str, name: str) -> None:
    """PostgreSQL keeps a plan once it expects no less of one for the values of each call, as after five of them."""
    most = 120_000
    values: dict[str, Any] = {
        **{key: ["t"] for key in ("tablenames", "rowguids")},
        **dict.fromkeys(("space_id", "client_id", "user_id"), uuid.uuid4()),
        **dict.fromkeys(("token_id", "digest"), ""),
        **dict.fromkeys(("from_", "after_stamp", "to", "first_stamp"), most - 10),
        "client_dates": [0],
        "after_ordinal": 1,
        "rows": pages.PART_ROWS,
        "bytes": pages.PAGE_BYTES,
        "small": pages.SMALL,
        "session": 0,
        "epoch": 0,
        "sync_number": 0,
        "anew": False,
        "durably": False,
    }
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        fill = """INSERT INTO sync.rows SELECT %s, 't', 'g' || i, 'I', '{}', i, i, i, 1, %s FROM generate_series(1, %s) i"""
        connection.execute(fill, [values["space_id"], uuid.uuid4(), most])
        connection.execute("VACUUM ANALYZE sync.rows")
        statement = Statement(queries("sync")[name])
        connection.execute(b"PREPARE pull AS " + statement.text)
        given = sql.SQL(", ").join([sql.Literal(values[each]) for each in statement.names])
        for _ in range(8):
            connection.execute(sql.SQL("EXECUTE pull({})").format(given))
        plans = connection.execute("SELECT custom_plans FROM pg_prepared_statements WHERE name = 'pull'").fetchone()
        connection.execute("DEALLOCATE pull")  # a pooler keeps the session
        connection.execute("TRUNCATE sync.rows")
    assert plans == (5,)


def test_who_calls_is_not_looked_up_by_a_new_plan_each_time(migrated_url: str) -> None:
    """Arrays of less than ten, whose lengths PostgreSQL saw, cost less than it expects of arrays in general."""
    values = [[uuid.uuid4()], [uuid.uuid4()], [0], [0]]
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(b"PREPARE lookup AS " + Statement(queries("sync")["sessions_of_devices"]).text)
        given = sql.SQL(", ").join([sql.Literal(value) for value in values])
        for _ in range(8):
            connection.execute(sql.SQL("EXECUTE lookup({})").format(given))
        plans = connection.execute("SELECT custom_plans FROM pg_prepared_statements WHERE name = 'lookup'").fetchone()
        connection.execute("DEALLOCATE lookup")
    assert plans == (5,)


@pytest.mark.parametrize("name", ["page_of_pull", "page_of_small_rows"])
def test_a_part_of_a_page_may_have_as_many_rows_as_its_statement_says(name: str) -> None:
    assert f"LIMIT {pages.PART_ROWS}\n" in queries("sync")[name]


def test_what_continues_another_statement_has_the_rest_of_it() -> None:
    texts = queries("sync")
    for name, rest, behind in (
        ("begin_pull", "page_of_small_rows", "SELECT (SELECT space_id FROM bounds)"),
        ("begin_pull_with_pending", "page_of_pull", "page AS ("),
    ):
        assert texts[name].startswith("-- Begins a sync")
        assert texts[name].count("UPDATE sync.syncs") == 1
        assert "UPDATE sync.clients" not in texts[name]
        assert texts[name].endswith(texts[rest][texts[rest].index(behind) :])
    assert texts["begin_pull_quietly"].startswith(texts["begin_pull"].partition("\n)")[0])
    assert texts["begin_pull_quietly"].count(" AS (\n") == 1
    assert parts_of("begin_pull_durably") == ["bounds", "page", "noted"]


def parts_of(name: str) -> list[str]:
    return re.findall(r"^(?:WITH )?(\w+) AS \($", queries("sync")[name], re.MULTILINE)


def test_a_push_of_nothing_stores_and_locks_nothing_but_asks_all_that_a_quiet_one_does() -> None:
    """What tells that a space is quiet stands in both statements."""
    nothing, quiet = (queries("sync")[name] for name in ("push_nothing_quietly", "push_quietly"))
    assert parts_of("push_nothing_quietly") == ["turn", "answer", "finished", "ended"]
    assert "INSERT" not in nothing
    assert "sync.spaces SET" not in nothing
    asked = re.compile(r"^    WHERE (c\.id = .*?)\n    FOR UPDATE OF ([^\n]+)$", re.MULTILINE | re.DOTALL)
    assert asked.findall(nothing) == [(asked.findall(quiet)[0][0].replace(" AND u.role <> 'viewer'", ""), "c, y")]
