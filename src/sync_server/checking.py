"""What `sync-server check` finds out about a realm's database: whether it could be served, else what is to be done."""

from __future__ import annotations

import psycopg

from sync_server import diagnosis, fingerprints, migrations
from sync_server.config import RealmSettings
from sync_server.migrations import Connection, MigrationError

_OLDEST = 14
"""PostgreSQL's version. CockroachDB says which one it imitates, which tells nothing."""
_MAY_CREATE = """
SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s)
    THEN has_schema_privilege(current_user, %(schema)s, 'CREATE')
    ELSE has_database_privilege(current_user, current_database(), 'CREATE') END
"""
_CLOSED_TABLES = """
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind = 'r' AND c.relname <> 'migrations' AND NOT (
    has_table_privilege(current_user, c.oid, 'SELECT') AND has_table_privilege(current_user, c.oid, 'INSERT')
    AND has_table_privilege(current_user, c.oid, 'UPDATE') AND has_table_privilege(current_user, c.oid, 'DELETE'))
ORDER BY c.relname
"""


class Problem(Exception):
    """The database cannot be used; one line says why and how to mend it."""


def check_database(settings: RealmSettings, url: str, fingerprint: str | None) -> str:
    """What there is to say about a realm's database that can be used. Raises Problem. Changes nothing.

    `fingerprint`: of this server's secrets, if it has any yet.
    """
    try:
        with migrations.connect(url) as connection, migrations.answering(connection):
            return _check(connection, settings.schema, fingerprint)
    except MigrationError as exc:
        raise Problem(f"its schema cannot be brought up to date: {exc}") from exc
    except psycopg.Error as exc:
        raise Problem(f"its database cannot be reached: {diagnosis.explain(exc)}") from exc


def _check(connection: Connection, schema: str, fingerprint: str | None) -> str:
    _check_server(connection)
    missing = migrations.pending(connection, schema)
    if not missing:
        if closed := connection.execute(_CLOSED_TABLES, {"schema": schema}).fetchall():
            tables = ", ".join(f"{schema}.{table}" for (table,) in closed)
            raise Problem(
                f"its role may not use {tables}: GRANT SELECT, INSERT, UPDATE, DELETE on it, or use its owner"
            )
        return f"its database answers and is up to date{_other_secrets(connection, schema, fingerprint)}"
    if connection.execute(_MAY_CREATE, {"schema": schema}).fetchone() == (False,):
        raise Problem(
            f"its role may not make the schema {schema}: GRANT CREATE ON DATABASE … TO it, or run"
            " `sync-server migrate` as the owner of the database"
        )
    return f"its database answers; {', '.join(missing)} will be applied when the server starts"


def _other_secrets(connection: Connection, schema: str, fingerprint: str | None) -> str:
    found = fingerprints.others(connection, schema, fingerprint)
    if fingerprint is None or not found:
        return ""
    said = ", ".join(f"{each.fingerprint} until {each.ago // 60_000} minutes ago" for each in found)
    return f"; OTHER SECRETS than this server's are used there ({said}): {fingerprints.ADVICE}"


def _check_server(connection: Connection) -> None:
    version = str(connection.execute("SELECT version()").fetchall()[0][0])
    major = connection.info.server_version // 10_000
    if version.startswith("PostgreSQL") and major < _OLDEST:
        raise Problem(f"its server is PostgreSQL {major}: {_OLDEST} or later is needed")
    if connection.execute("SHOW transaction_read_only").fetchone() == ("on",):
        raise Problem("its database takes no changes (a standby, or default_transaction_read_only): use the primary")
    migrations.check_encoding(connection)
