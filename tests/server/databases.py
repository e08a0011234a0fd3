"""Databases as their administrator sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from postgres import as_role, superuser


def count(url: str, query: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        return int(connection.execute(query.encode()).fetchall()[0][0])


def role(url: str, name: str, *grants: str) -> str:
    """A role of its own with these rights only; the URL as that role."""
    with psycopg.connect(superuser(url), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'tests'".encode())
        for grant in grants:
            connection.execute(f"{grant} TO {name}".encode())
    return as_role(url, name)


@contextmanager
def locked_space(url: str) -> Iterator[None]:
    """Hold every space of the database, so that a push must wait."""
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1 FROM sync.spaces FOR UPDATE").fetchall()
        yield


def somebody_waits(url: str) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return count(url, waiting) > 0
