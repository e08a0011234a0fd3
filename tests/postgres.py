"""The database that the tests run on: an embedded PostgreSQL of their own, or the one that SYNC_TEST_DATABASE_URL names.

SYNC_TEST_DATABASE_URL          a role that may create databases; each run makes its own there and drops them in the end
SYNC_TEST_SUPERUSER_URL         the same server as a superuser, directly; without it the tests that need one are skipped
SYNC_TEST_KEEP_DATABASES        1 where nobody needs them dropped, as the whole server goes: hundreds take minutes
SYNC_TEST_PREPARED_STATEMENTS   0 behind a pooler that does not know prepared statements
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg import sql

from sync_server import migrations
from sync_server.config import RealmSettings, Secret
from sync_server.embedded import EmbeddedPostgres

GIVEN = os.environ.get("SYNC_TEST_DATABASE_URL", "")
SUPERUSER = os.environ.get("SYNC_TEST_SUPERUSER_URL", "")
KEEP = os.environ.get("SYNC_TEST_KEEP_DATABASES", "0") == "1"
PREPARED = os.environ.get("SYNC_TEST_PREPARED_STATEMENTS", "1") != "0"


class Postgres(Protocol):
    """A server with databases for tests."""

    def url(self, database: str) -> str:
        """The URL of a database that `create_database` made."""

    def create_database(self, name: str) -> str:
        """Make the database if it is missing; its URL."""

    def create_migrated(self, name: str) -> str:
        """Make a new database that is up to date; its URL."""


def _new(name: str, made: Collection[str]) -> str:
    """The name of a database that was not made yet: a module whose tests come back to a process makes its fixtures again."""
    return f"{name}_{secrets.token_hex(4)}" if name in made else name


class Own(EmbeddedPostgres):
    """A server of the run's own. Its databases are copies: CREATE DATABASE and the migrations take eight times as long."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        super().__init__(directory, settings)
        self._originals: set[str] = set()
        self._migrated: set[str] = set()

    def create_database(self, name: str) -> str:
        return self._copied(name, "original_empty", lambda _: None)

    def create_migrated(self, name: str) -> str:
        new = _new(name, self._migrated)
        self._migrated.add(new)
        return self._copied(new, "original_migrated", migrations.migrate)

    def _copied(self, name: str, original: str, prepare: Callable[[str], object]) -> str:
        if original not in self._originals:
            prepare(super().create_database(original))
            self._originals.add(original)
        url = self.url(name)
        with psycopg.connect(superuser(self.url("postgres")), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                copy = "CREATE DATABASE {} OWNER sync_server TEMPLATE {} STRATEGY file_copy"
                connection.execute(sql.SQL(copy).format(sql.Identifier(name), sql.Identifier(original)))
        return url


class Given:
    """The server that SYNC_TEST_DATABASE_URL names. Several runs may use it at once: names of databases get a prefix."""

    def __init__(self, url: str) -> None:
        self._maintenance = url
        self._prefix = f"synctest_{secrets.token_hex(4)}_"
        self._made: list[str] = []

    def url(self, database: str) -> str:
        return with_database(self._maintenance, self._prefix + database)

    def create_database(self, name: str) -> str:
        if name not in self._made:
            with psycopg.connect(self._maintenance, autocommit=True) as connection:
                on_postgres = connection.info.parameter_status("crdb_version") is None
                options = " TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'" if on_postgres else ""
                create = sql.SQL("CREATE DATABASE {}" + options).format(sql.Identifier(self._prefix + name))
                connection.execute(create)
            self._made.append(name)
        return self.url(name)

    def create_migrated(self, name: str) -> str:
        url = self.create_database(_new(name, self._made))
        migrations.migrate(url)
        return url

    def drop_databases(self) -> None:
        if KEEP:
            return
        # a pooler's connections, which it may have as a superuser, are in the way
        with psycopg.connect(SUPERUSER or self._maintenance, autocommit=True) as connection:
            how = " WITH (FORCE)" if connection.info.parameter_status("crdb_version") is None else " CASCADE"
            for name in self._made:
                connection.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {}" + how).format(sql.Identifier(self._prefix + name))
                )


def with_database(url: str, database: str) -> str:
    """`url` leading to another database of the same server."""
    before, mark, query = url.partition("?")
    scheme, _, rest = before.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{database}{mark}{query}"


def database_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def superuser(url: str) -> str:
    """The URL of the same database as a superuser, past any pooler. Skips the test where there is none."""
    if not GIVEN:
        return url.replace("sync_server@", "postgres@", 1)
    if not SUPERUSER:
        pytest.skip("needs a superuser: set SYNC_TEST_SUPERUSER_URL")
    return with_database(SUPERUSER, database_of(url))


def as_role(url: str, name: str) -> str:
    """The URL of the same database as another role, whose password is "tests" where the database asks for one."""
    before, _, after = url.partition("@")
    return f"{before.partition('://')[0]}://{name}:tests@{after}" if GIVEN else f"postgresql://{name}@{after}"


def realm_at(url: str) -> RealmSettings:
    """The settings of a realm with this database."""
    return RealmSettings(url=Secret(url), prepared_statements=PREPARED)


def served(config: dict[str, Any]) -> dict[str, Any]:
    """`config` with what its realms need behind the pooler under test, where they do not say so themselves."""
    realms = config.get("db", {}).get("realms") if isinstance(config.get("db"), dict) else None
    if PREPARED or not isinstance(realms, dict):
        return config
    return {**config, "db": {**config["db"], "realms": {name: _unprepared(realm) for name, realm in realms.items()}}}


def _unprepared(realm: Any) -> Any:
    if isinstance(realm, str) and "://" in realm:
        return {"url": realm, "prepared_statements": False}
    return {"prepared_statements": False, **realm} if isinstance(realm, dict) else realm


def prepare_nothing() -> None:
    """Make the connections of the tests themselves fit for a pooler: psycopg has no setting for all of them."""
    for kind in (psycopg.Connection, psycopg.AsyncConnection):
        kind.connect.__func__.__kwdefaults__["prepare_threshold"] = None  # type: ignore[union-attr]
