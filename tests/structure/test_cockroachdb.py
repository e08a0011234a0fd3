# ruff: noqa: N802 - the names of the parser
"""No statement of the project is outside what CockroachDB 23.2 documents, nor made so that one range takes all writes."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pglast import parse_sql
from pglast.enums import AlterTableType, ConstrType, LockClauseStrength
from pglast.visitors import Visitor

from conflicts.injector import numbered
from postgres import Postgres
from structure import cockroachdb as known
from sync_server import migrations
from sync_server.database import sql_directory

SOURCE = Path(__file__).parents[2] / "src" / "sync_server"
POSTGRES_ONLY = {"embedded"}
"""Packages that speak to the embedded PostgreSQL only."""
STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|SET|SHOW|TRUNCATE|LOCK|COPY|DO)\s")


def statements() -> Iterator[tuple[str, str]]:
    """Every SQL text of the project, by where it stands."""
    top = sql_directory()
    for file in sorted(top.rglob("*.sql")):
        yield str(file.relative_to(top)), file.read_text()
    for file in sorted(SOURCE.rglob("*.py")):
        if not POSTGRES_ONLY & set(file.relative_to(SOURCE).parts):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
                    yield f"{file.name}:{node.lineno}", node.value


STATEMENTS = dict(statements())


def parsed(text: str) -> Any:
    named = numbered(text.replace("{schema}", "sync").replace("{}", "sync"))
    count = Counter[str]()

    def number(_: re.Match[str]) -> str:
        count["$"] += 1
        return f"${count['$']}"

    return parse_sql(re.sub(r"%[sb]", number, named))


class Look(Visitor):
    """Collects what is not in the list."""

    def __init__(self) -> None:
        super().__init__()
        self.strange: set[str] = set()
        self.nodes = {name for names in known.NODES.values() for name in names.split()}
        self.changed: Counter[str] = Counter()

    def check(self, what: str, name: str, allowed: set[str]) -> None:
        if name not in allowed:
            self.strange.add(f"{what} {name}")

    def visit(self, _: Any, node: Any) -> None:
        self.check("syntax", type(node).__name__, self.nodes)

    def visit_FuncCall(self, ancestors: Any, node: Any) -> None:
        self.check("function", node.funcname[-1].sval, known.FUNCTIONS)
        if node.funcname[-1].sval == "sum":  # of integers it is a DECIMAL there: a cast makes it the same on both
            while ancestors and type(ancestors.node).__name__ in {"tuple", "FuncCall", "CoalesceExpr"}:
                ancestors = ancestors.parent
            self.check("a sum, but no cast:", type(ancestors.node).__name__, {"TypeCast"})

    def visit_TypeName(self, _: Any, node: Any) -> None:
        self.check("type", node.names[-1].sval, known.TYPES)

    def visit_A_Expr(self, _: Any, node: Any) -> None:
        self.check("operator", node.name[-1].sval, known.OPERATORS)

    def visit_LockingClause(self, _: Any, node: Any) -> None:
        self.check("lock", LockClauseStrength(node.strength).name, known.LOCKS)

    def visit_Constraint(self, _: Any, node: Any) -> None:
        self.check("constraint", ConstrType(node.contype).name, known.CONSTRAINTS)

    def visit_AlterTableCmd(self, _: Any, node: Any) -> None:
        self.check("ALTER TABLE", AlterTableType(node.subtype).name, known.CHANGES_OF_TABLES)

    def visit_InsertStmt(self, _: Any, node: Any) -> None:
        self.changed[node.relation.relname] += 1

    def visit_UpdateStmt(self, _: Any, node: Any) -> None:
        self.changed[node.relation.relname] += 1

    def visit_DeleteStmt(self, _: Any, node: Any) -> None:
        self.changed[node.relation.relname] += 1


@pytest.mark.parametrize("where", STATEMENTS)
def test_everything_is_documented_for_cockroachdb(where: str) -> None:
    for statement in parsed(STATEMENTS[where]):
        look = Look()
        look(statement)
        assert not look.strange
        # https://www.cockroachlabs.com/docs/v23.2/known-limitations: no two changes of a table in one statement
        assert all(count == 1 for count in look.changed.values()), look.changed


@pytest.mark.parametrize(
    "text",
    [
        "SELECT pg_advisory_lock(1)",
        "SELECT ctid FROM sync.rows WHERE ctid = '(0,1)'::tid",
        "DO $$ BEGIN END $$",
        "LISTEN changes",
        "CREATE TEMP TABLE t (i money)",
        "SELECT 1 FROM sync.rows FOR KEY SHARE",
        "SELECT sum(stamp) FROM sync.rows",
        "ALTER TABLE sync.rows ALTER COLUMN stamp TYPE numeric",
        "MERGE INTO sync.rows r USING sync.rows s ON r.stamp = s.stamp WHEN MATCHED THEN DELETE",
        "CREATE TABLE t (i int, EXCLUDE USING gist (i WITH =))",
        "SELECT * FROM json_table(jsonb '1', '$' COLUMNS (i int PATH '$'))",
    ],
)
def test_what_is_not_documented_is_seen(text: str) -> None:
    look = Look()
    look(parse_sql(text))
    assert look.strange


def test_statements_in_the_source_are_seen_too() -> None:
    assert {where.partition(":")[0] for where in STATEMENTS} >= {"migrations.py", "checking.py", "queries/sync.sql"}


@pytest.mark.parametrize("migration", migrations.available(), ids=lambda migration: migration.name)
def test_no_migration_uses_a_column_that_it_adds(migration: migrations.Migration) -> None:
    """Such a column is there only when the transaction has been committed (known-limitations, schema changes)."""
    created: set[str] = set()
    added: set[str] = set()
    for statement in parsed(migration.text):
        node = statement.stmt
        if type(node).__name__ == "CreateStmt":
            created.add(node.relation.relname)
        names = {str(word) for word in re.findall(r"sval='(\w+)'|name='(\w+)'", repr(node)) for word in word if word}
        assert type(node).__name__ == "AlterTableStmt" or not added & names, added & names
        if type(node).__name__ == "AlterTableStmt" and node.relation.relname not in created:
            added |= {command.def_.colname for command in node.cmds if hasattr(command.def_, "colname")}


GROWS_AT_ITS_END = {
    # one entry for each mail that waits: password resets, at most a few per user and year, deleted when sent
    "mails_by_next_try",
    # one entry for each failed try, and for each account made, of which the limits leave a few per minute and address
    "attempts_by_expiry",
}
"""Indexes whose keys only rise. docs/databases.md says with figures why that does not matter."""
SPREAD = {"users.email_key", "attempts.key", "adopted_users.email_key"}
"""Texts that differ from their first characters on: addresses of people, digests."""
TINY = {"migrations.version", "chores.name"}
"""Of tables with a handful of rows."""


def test_no_index_begins_with_what_only_grows(postgres: Postgres) -> None:
    """On CockroachDB, writes at the ever same end of an index are all done by one node."""
    url = postgres.create_database("indexes")
    migrations.migrate(url)
    with psycopg.connect(url) as connection:
        found = connection.execute(
            """
            SELECT i.relname, t.relname || '.' || a.attname, a.atttypid::regtype::text
            FROM pg_index x
            JOIN pg_class i ON i.oid = x.indexrelid
            JOIN pg_class t ON t.oid = x.indrelid
            JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = 'sync'
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
            """
        ).fetchall()
    assert len(found) > 20
    growing = {index for index, column, kind in found if kind != "uuid" and column not in SPREAD | TINY}
    assert growing == GROWS_AT_ITS_END
