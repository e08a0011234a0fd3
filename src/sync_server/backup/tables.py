"""Which tables a backup holds, and which it leaves out. A test asks for a decision on every table that there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sync_server.migrations import Connection

BULK = ("rows", "history", "overridden", "audit_lines", "audit_details")
"""What nobody can reach as long as there are no users. On CockroachDB a transaction cannot hold it all."""
ACCOUNTS = (
    "adoptions",
    "adopted_users",
    "adopted_clients",
    "adopted_lines",
    "adopted_contents",
    "adoption_findings",
    "audit_chains",
    "spaces",
    "users",
    "totp",
    "recovery_codes",
    "clients",
    "kept_aside",
    "device_status",
    "activity",
    "stats",
)
"""What is restored in one transaction, in an order that references allow."""
TABLES = BULK + ACCOUNTS
SUMS = ("stats",)
"""What a server writes for a realm that has nobody yet, too: there the backup's takes its place."""
LEFT_OUT = {
    "migrations": "the schema is made by the server that restores",
    "chores": "says which process prunes next",
    "fingerprints": "of the secrets of the servers that were there",
    "attempts": "what counts against limits, for a day at most",
    "syncs": "what is under way; devices begin anew",
    "uploads": "calls of which parts are missing; the device sends them again",
    "upload_parts": "as uploads",
    "pins": "are good for fifteen minutes",
    "admin_sessions": "people sign in again",
    "idempotency_keys": "are good for a day",
    "mails": "are good for as long, and would be sent twice",
}
_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = %s AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""
AS_TEXT = {"uuid", "numeric", "jsonb"}
"""Types that are read and written as text."""
TYPES = AS_TEXT | {"text", "bigint", "integer", "boolean", "bytea", "timestamp with time zone"}


class Column(NamedTuple):
    name: str
    type: str


def in_order_of(columns: Sequence[Column], there: Sequence[Column]) -> list[Column]:
    """Those that are `there`, in the order of `columns`; types may be called otherwise in another database."""
    types = dict(there)
    return [Column(column.name, types[column.name]) for column in columns if column.name in types]


def existing(connection: Connection, schema: str) -> dict[str, list[Column]]:
    """The tables of the schema with their columns."""
    found: dict[str, list[Column]] = {}
    for table, column, kind in connection.execute(_COLUMNS, [schema]):
        found.setdefault(table, []).append(Column(column, kind))
    return found
