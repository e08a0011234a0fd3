"""A realm's database with something odd in every table, and a look at all of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from sync_server import backup
from sync_server.backup.tables import TABLES

ANN, PHONE = UUID(int=1), UUID(int=2)
ODD = 'tab\t, "quotes", back\\slash, new\nline, \\u0000, \\ud800, ✓ 𝄞'
Content = dict[str, list[tuple[Any, ...]]]


def fill(url: str, rows: int = 3) -> None:
    """A user with a device and so many rows, half of them deleted."""
    with psycopg.connect(url) as connection:
        put = connection.execute
        put("INSERT INTO sync.spaces (id, clock, pruned) VALUES (%s, %s, 5)", [ANN, 2**60])
        user = """
            INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
            VALUES (%s, %s, %s, %s, %s, '$2b$')
        """
        put(user, [ANN, ANN, "Ann@x", "ann@x", ODD])
        client = """
            INSERT INTO sync.clients (id, user_id, details, session, refresh_id, first_stamp, push_digest, push_answer,
                acknowledged)
            VALUES (%s, %s, %s, 7, 'r', 1, 'p', 20, 15)
        """
        put(client, [PHONE, ANN, json.dumps({"name": ODD})])
        put("INSERT INTO sync.syncs VALUES (%s, 1, 4, 10, 20, 30, 'd', 't')", [PHONE])
        row = """
            INSERT INTO sync.rows SELECT %s, 'notes', number::text, CASE number %% 2 WHEN 0 THEN 'D' ELSE 'I' END,
                CASE number %% 2 WHEN 0 THEN NULL ELSE %s END, -number, number, number, 0, %s
            FROM generate_series(1, %s) AS number
        """
        put(row, [ANN, json.dumps({"text": ODD, "big": 2**80, "none": None}, ensure_ascii=False), PHONE, rows])
        put("INSERT INTO sync.history VALUES (%s, 1, 0, %s, %s, 'notes', '1', 'I', -1, NULL)", [ANN, ANN, PHONE])
        lost = "INSERT INTO sync.overridden VALUES (%s, 'notes', '1', gen_random_uuid(), 'I', '', 1, %s, 3)"
        put(lost, [ANN, PHONE])
        kept = "INSERT INTO sync.kept_aside (id, user_id, client_id, reason, detail, bytes) VALUES (%s, %s, %s, 'x', %s, 9)"
        put(kept, [UUID(int=9), ANN, PHONE, ODD])
        put("INSERT INTO sync.adoptions (id, finished_at) VALUES (%s, now())", [UUID(int=8)])
        book = "INSERT INTO sync.adopted_users (user_id, email_key, password_digest, cursors) VALUES (%s, '', '', %s)"
        put(book, [ANN, 10**30])
        put("INSERT INTO sync.pins (user_id, nonce, created) VALUES (%s, 'n', 1)", [ANN])


def content(url: str, schema: str = "sync") -> Content:
    """All rows of all tables that a backup holds."""
    with psycopg.connect(url) as connection:
        return {
            table: sorted(
                connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))), key=repr
            )
            for table in TABLES
        }


class Meddler:
    """Does something whenever it is told how far a backup is."""

    def __init__(self, meddle: Callable[[], object] = lambda: None) -> None:
        self._meddle = meddle

    def begin(self, total: int) -> None:
        pass

    def advance(self, number: int) -> None:  # noqa: ARG002 - what is told does not matter
        self._meddle()


IGNORE = Meddler()


def taken(url: str) -> bytes:
    stream = io.BytesIO()
    backup.take("todos", "sync", url, stream, IGNORE)
    return stream.getvalue()


def restored(data: bytes, url: str, *, as_it_was: bool = False) -> None:
    backup.restore("sync", url, io.BytesIO(data), IGNORE, as_it_was=as_it_was)
