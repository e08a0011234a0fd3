"""The tables of sync_server_ts: whether they are there, can be read, and in which of their forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import LiteralString

from sync_server.complaint import Complaint
from sync_server.database import queries
from sync_server.migrations import Connection

_NEEDED = {
    "users": {"email", "password", "salt"},
    "user_clients": {"clientid", "userid", "lastsync"},
    "data": {"rowguid", "json"},
    "sync_data": {"id", "userid", "clientid", "tablename", "rowguid", "operation", "clientdate", "serverdate"},
}
_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), has_table_privilege(current_user, c.oid, 'SELECT')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""
_UUIDS = (("users", "id"), ("user_clients", "clientid"), ("data", "rowguid"), ("sync_data", "rowguid"))


class AdoptionError(Complaint):
    """The old database cannot be taken over; one line says why and how to mend it."""


class Old:
    """The old tables, all in `public`, as they are in this database."""

    def __init__(self, columns: Mapping[str, Mapping[str, str]]) -> None:
        """`columns`: by table the columns' types."""
        self._columns = columns
        self._key = "id" if "id" in columns["users"] else "userid"
        self._check()

    def statements(self, schema: str) -> Mapping[str, LiteralString]:
        """The statements of sql/adoption by their names, for these tables and the realm's in `schema`."""
        stands_for = {"o.id": f"o.{self._key}"}
        for table, alias, column in (
            ("users", "o", "name"),
            ("users", "o", "language"),
            ("user_clients", "c", "clientdetails"),
            ("user_clients", "c", "syncing"),
        ):
            if column not in self._columns[table]:
                stands_for[f"{alias}.{column}"] = "NULL::text"
        named = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in stands_for))
        return {
            name: named.sub(lambda found: stands_for[found[0]], text)
            for name, text in queries(schema, "adoption").items()
        }

    def _check(self) -> None:
        for table, needed in _NEEDED.items():
            if missing := sorted(needed - self._columns[table].keys()):
                raise AdoptionError(f"public.{table} is not as sync_server_ts makes it: no column {', '.join(missing)}")
        if self._key not in self._columns["users"]:
            raise AdoptionError("public.users is not as sync_server_ts makes it: no column id or userid")
        for table, column in _UUIDS:
            name = self._key if (table, column) == ("users", "id") else column
            if (kind := self._columns[table][name]) != "uuid":
                raise AdoptionError(f"public.{table}.{name} is of type {kind}; only uuid can be taken over")


def find(connection: Connection) -> Old | None:
    """The old tables, if this database has them. Raises AdoptionError when they cannot be read."""
    columns: dict[str, dict[str, str]] = {}
    closed = set()
    for table, column, kind, readable in connection.execute(_COLUMNS, [list(_NEEDED)]):
        columns.setdefault(table, {})[column] = kind
        if not readable:
            closed.add(f"public.{table}")
    if columns.keys() != _NEEDED.keys():
        return None
    if closed:
        tables = ", ".join(sorted(closed))
        raise AdoptionError(f"the role may not read the tables of sync_server_ts: GRANT SELECT ON {tables} TO it")
    return Old(columns)
