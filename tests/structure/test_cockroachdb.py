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
from sync_server import migrations, steps
from sync_server.database import queries, sql_directory

SOURCE = Path(__file__).parents[2] / "src" / "sync_server"
POSTGRES_ONLY = {"embedded", "postgresql"}
"""The package that speaks to the embedded PostgreSQL only, and the directory of what only PostgreSQL is asked to run."""
STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|SET|SHOW|TRUNCATE|LOCK|COPY|DO)\s")


def statements() -> Iterator[tuple[str, str]]:
    """Every SQL text of the project, by where it stands."""
    top = sql_directory()
    for file in sorted(top.rglob("*.sql")):
        if not POSTGRES_ONLY & set(file.relative_to(top).parts):
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
        self.functions = {name for names in known.FUNCTIONS.values() for name in names.split()}
        self.changed: Counter[str] = Counter()
        self.deleted: set[str] = set()

    def check(self, what: str, name: str, allowed: set[str]) -> None:
        if name not in allowed:
            self.strange.add(f"{what} {name}")

    def refuse(self, what: str, found: object) -> None:
        if found:
            self.strange.add(what)

    def visit(self, _: Any, node: Any) -> None:
        self.check("syntax", type(node).__name__, self.nodes)
        for name in (getattr(node, each, None) for each in ("name", "relname", "colname", "aliasname", "ctename")):
            self.refuse(f"the name {name}", isinstance(name, str) and name in known.RESERVED)

    def visit_FuncCall(self, ancestors: Any, node: Any) -> None:
        self.check("function", node.funcname[-1].sval, self.functions)
        if node.funcname[-1].sval == "sum":  # of integers it is a DECIMAL there: a cast makes it the same on both
            while ancestors and type(ancestors.node).__name__ in {"tuple", "FuncCall", "CoalesceExpr"}:
                ancestors = ancestors.parent
            self.check("a sum, but no cast:", type(ancestors.node).__name__, {"TypeCast"})

    def visit_TypeName(self, _: Any, node: Any) -> None:
        self.check("type", node.names[-1].sval, known.TYPES)

    def visit_A_Expr(self, _: Any, node: Any) -> None:
        self.check("operator", node.name[-1].sval, known.OPERATORS)
        if is_extract(node.lexpr) or is_extract(node.rexpr):  # a FLOAT there, which meets no integer but a constant
            other = node.rexpr if is_extract(node.lexpr) else node.lexpr
            self.check("with extract:", type(other).__name__, {"A_Const"})

    def visit_LockingClause(self, _: Any, node: Any) -> None:
        self.check("lock", LockClauseStrength(node.strength).name, known.LOCKS)

    def visit_Constraint(self, _: Any, node: Any) -> None:
        self.check("constraint", ConstrType(node.contype).name, known.CONSTRAINTS)

    def visit_AlterTableCmd(self, _: Any, node: Any) -> None:
        self.check("ALTER TABLE", AlterTableType(node.subtype).name, known.CHANGES_OF_TABLES)

    def visit_VariableSetStmt(self, _: Any, node: Any) -> None:
        self.check("setting", node.name, known.SETTINGS)

    def visit_VariableShowStmt(self, _: Any, node: Any) -> None:
        self.check("setting", node.name, known.SETTINGS)

    def visit_RangeVar(self, _: Any, node: Any) -> None:
        self.refuse("temporary table", node.relpersistence != "p")
        if node.schemaname == "pg_catalog" or node.relname.startswith("pg_"):
            self.check("catalog", node.relname, known.CATALOG)

    def visit_IndexStmt(self, _: Any, node: Any) -> None:
        self.refuse("index of another kind", node.accessMethod != "btree" or node.concurrent)

    def visit_InferClause(self, _: Any, node: Any) -> None:
        """An expression as the target of ON CONFLICT: known-limitations."""
        self.refuse("ON CONFLICT (expression)", any(element.expr for element in node.indexElems or ()))

    def visit_WithClause(self, ancestors: Any, _: Any) -> None:
        """Below the top it must neither change anything nor be correlated: common-table-expressions."""
        self.refuse("WITH in a subquery", ancestors and type(ancestors.parent.node).__name__ != "RawStmt")

    def visit_InsertStmt(self, _: Any, node: Any) -> None:
        self.changed[node.relation.relname] += 1

    def visit_UpdateStmt(self, _: Any, node: Any) -> None:
        self.changed[node.relation.relname] += 1

    def visit_DeleteStmt(self, _: Any, node: Any) -> None:
        self.changed[node.relation.relname] += 1
        self.deleted.add(node.relation.relname)

    def changes_that_meet(self) -> set[str]:
        """Changes in one statement of one table, also by a delete of another one that cascades: "known-limitations"."""
        twice = {f"two changes of {table}" for table, count in self.changed.items() if count > 1}
        meet = ((to, by) for to, by in cascades() if to in self.changed and by in self.deleted)
        return twice | {f"a change of {to}, where a delete of {by} cascades to" for to, by in meet}


def is_extract(node: Any) -> bool:
    return type(node).__name__ == "FuncCall" and node.funcname[-1].sval == "extract"


def cascades() -> set[tuple[str, str]]:
    """Tables, each with one that takes its rows along when it loses its own."""
    return {
        (table, other)
        for migration in migrations.available()
        for table, text in re.findall(r"CREATE TABLE sync\.(\w+) \((.*?)\n\);", migration.text, re.DOTALL)
        for other in re.findall(r"REFERENCES sync\.(\w+) \([\w, ]+\) ON DELETE CASCADE", text)
    }


@pytest.mark.parametrize("where", STATEMENTS)
def test_everything_is_documented_for_cockroachdb(where: str) -> None:
    for statement in parsed(STATEMENTS[where]):
        look = Look()
        look(statement)
        assert not look.strange | look.changes_that_meet()


def test_a_statement_made_of_parts_is_documented_as_a_whole() -> None:
    look = Look()
    for statement in parsed(queries("sync")["push_changes_audited"]):
        look(statement)
    assert look.changed["audit_lines"] == 1
    assert not look.strange | look.changes_that_meet()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT pg_advisory_lock(1)", "function pg_advisory_lock"),
        ("SELECT 1 FROM sync.rows WHERE ctid = '(0,1)'::tid", "type tid"),
        ("DO $$ BEGIN END $$", "syntax DoStmt"),
        ("LISTEN changes", "syntax ListenStmt"),
        ("CREATE TEMP TABLE t (i text)", "temporary table"),
        ("CREATE TABLE t (i money)", "type money"),
        ("CREATE TABLE t (i text) WITH (autovacuum_enabled = false)", "syntax DefElem"),
        ("CREATE TABLE t (family text)", "the name family"),
        ("CREATE INDEX i ON sync.rows USING hash (stamp)", "index of another kind"),
        ("CREATE INDEX CONCURRENTLY i ON sync.rows (stamp)", "index of another kind"),
        ("SET LOCAL work_mem = '1GB'", "setting work_mem"),
        ("SELECT query FROM pg_stat_activity", "catalog pg_stat_activity"),
        ("SELECT relname FROM pg_catalog.pg_stat_user_tables", "catalog pg_stat_user_tables"),
        ("SELECT stamp / 2 FROM sync.rows", "operator /"),
        ("SELECT extract(epoch FROM now()) * stamp FROM sync.rows", "with extract: ColumnRef"),
        ("INSERT INTO sync.users VALUES (1) ON CONFLICT (lower(email)) DO NOTHING", "ON CONFLICT (expression)"),
        ("SELECT (WITH gone AS (DELETE FROM sync.rows RETURNING 1) SELECT count(*) FROM gone)", "WITH in a subquery"),
        ("SELECT stamp FROM (WITH r AS (SELECT stamp FROM sync.rows) SELECT stamp FROM r) s", "WITH in a subquery"),
        ("SELECT 1 FROM sync.rows FOR KEY SHARE", "lock LCS_FORKEYSHARE"),
        ("SELECT sum(stamp) FROM sync.rows", "a sum, but no cast: ResTarget"),
        ("ALTER TABLE sync.rows ALTER COLUMN stamp TYPE numeric", "ALTER TABLE AT_AlterColumnType"),
        ("MERGE INTO sync.rows r USING sync.rows s ON r.stamp = s.stamp WHEN MATCHED THEN DELETE", "syntax MergeStmt"),
        ("CREATE TABLE t (i int, EXCLUDE USING gist (i WITH =))", "constraint CONSTR_EXCLUSION"),
        ("SELECT * FROM json_table(jsonb '1', '$' COLUMNS (i int PATH '$'))", "syntax JsonTable"),
        (
            "WITH a AS (DELETE FROM sync.users RETURNING 1) INSERT INTO sync.clients (id) SELECT id FROM sync.users",
            "a change of clients, where a delete of users cascades to",
        ),
        ("WITH a AS (DELETE FROM sync.rows RETURNING 1) UPDATE sync.rows SET stamp = 1", "two changes of rows"),
    ],
)
def test_what_is_not_documented_is_seen(text: str, reason: str) -> None:
    look = Look()
    look(parse_sql(text))
    assert reason in look.strange | look.changes_that_meet()


@pytest.mark.parametrize("migration", migrations.available(), ids=lambda migration: migration.name)
def test_a_migration_can_be_applied_statement_by_statement(migration: migrations.Migration) -> None:
    """Done once more, each says that it was done (steps.py): it makes something with a name, or a row with a key."""
    texts = steps.statements(migration.text)
    assert [repr(parsed(text)[0].stmt) for text in texts] == [repr(each.stmt) for each in parsed(migration.text)]
    for text in texts:
        [statement] = parsed(text)
        kind = type(statement.stmt).__name__
        assert kind in {"CreateStmt", "IndexStmt", "AlterTableStmt", "InsertStmt"}, text
        assert kind != "IndexStmt" or statement.stmt.idxname, text
        assert kind != "AlterTableStmt" or len(statement.stmt.cmds) == 1, text
        assert kind != "InsertStmt" or (statement.stmt.selectStmt.valuesLists and not statement.stmt.onConflictClause)


def test_tables_that_cascade_are_found() -> None:
    assert {("clients", "users"), ("syncs", "clients"), ("upload_parts", "uploads")} <= cascades()


def test_statements_in_the_source_are_seen_too() -> None:
    assert {where.partition(":")[0] for where in STATEMENTS} >= {"migrations.py", "checking.py", "queries/sync.sql"}


@pytest.mark.parametrize("migration", migrations.available(), ids=lambda migration: migration.name)
def test_no_migration_uses_a_column_that_it_adds(migration: migrations.Migration) -> None:
    """In a transaction, such a column is there only when that has been committed ("online-schema-changes")."""
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
    # one entry for each user
    "users_by_age",
}
"""Indexes whose keys only rise. docs/databases.md says with figures why that does not matter."""
SPREAD = {"users.email_key", "attempts.key", "adopted_users.email_key", "audit_lines.entity_id", "audit_lines.bucket"}
"""What differs from its first characters on: addresses of people, digests, ids; and numbers that are dealt out in turn."""
TINY = {"migrations.version", "chores.name", "fingerprints.fingerprint", "stats.name"}
"""Of tables with a handful of rows, or, stats, with a few that are written every few seconds."""


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


def test_no_two_migrations_have_the_same_number() -> None:
    numbers = [migration.version for migration in migrations.available()]
    assert len(numbers) == len(set(numbers))


def test_settings_that_it_does_not_document_are_set_on_postgresql_only() -> None:
    """plan_by_index is not asked there at all."""
    for name, text in queries("sync").items():
        for before, setting in re.findall(r"(.*?)set_config\('(\w+)'", text, re.DOTALL):
            guarded = re.search(r"current_setting\('crdb_version', true\) IS NULL\s+THEN $", before)
            assert name == "plan_by_index" or setting in known.SETTINGS or guarded, f"{name} sets {setting}"
