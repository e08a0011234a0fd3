"""Migrations on CockroachDB, which changes schemas outside transactions: what is interrupted goes on with the next run."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from conflicts.conftest import serializable
from conflicts.injector import Fault, Injector, Kind
from conflicts.test_migrations import NAMES
from postgres import Postgres
from sync_server import migrations
from sync_server.migrations import MigrationError

_COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'sync' ORDER BY table_name, column_name
"""
_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'sync' ORDER BY indexname"
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'sync'::regnamespace ORDER BY conname
"""
_CONTENTS = (
    "SELECT version, name, digest FROM sync.migrations ORDER BY version",
    "SELECT name, next_run FROM sync.chores",
)


def state_of(url: str) -> list[Any]:
    """What there is in the schema, with the books of the migrations."""
    with psycopg.connect(url, autocommit=True) as connection:
        return [connection.execute(query).fetchall() for query in (_COLUMNS, _INDEXES, _CONSTRAINTS, *_CONTENTS)]


@pytest.fixture(scope="module")
def usual(postgres: Postgres) -> list[Any]:
    """What a database is like after the usual way."""
    url = serializable(postgres)
    migrations.migrate(url)
    return state_of(url)


@pytest.mark.parametrize("first", sorted({*range(0, len(NAMES), 4), len(NAMES) - 1}))
def test_steps_lead_where_the_usual_way_does(postgres: Postgres, usual: list[Any], first: int) -> None:
    url = serializable(postgres)
    migrations.migrate(url, migrations=migrations.available()[:first])
    with Injector(url, as_cockroachdb=True) as injector:
        assert migrations.migrate(injector.url) == NAMES[first:]
        assert migrations.migrate(injector.url) == []
    assert state_of(url) == usual


def test_the_usual_way_would_not_do(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the stand-in refuses what CockroachDB may refuse."""
    monkeypatch.setattr(migrations, "on_cockroachdb", lambda _: False)
    with Injector(serializable(postgres), as_cockroachdb=True) as injector, pytest.raises(MigrationError):
        migrations.migrate(injector.url)


def changes_of_migrating(postgres: Postgres) -> list[str]:
    """The migrations' own statements."""
    with Injector(serializable(postgres), as_cockroachdb=True) as injector:
        assert migrations.migrate(injector.url) == NAMES
        return [step for step in injector.steps if step.startswith(("CREATE", "ALTER", "INSERT INTO sync.chores"))]


@pytest.mark.parametrize("kind", ["cut before", "cut after"])
def test_an_interrupted_migration_goes_on_where_it_ended(postgres: Postgres, usual: list[Any], kind: Kind) -> None:
    changes = changes_of_migrating(postgres)
    assert len(changes) > 30
    url = serializable(postgres)
    for step in changes:  # of one and the same database, which is interrupted at each
        with Injector(url, as_cockroachdb=True) as injector:
            fault = Fault(kind, step)
            injector.arm(fault)
            with pytest.raises((MigrationError, psycopg.OperationalError)):
                migrations.migrate(injector.url)
            assert fault.fired == 1, step
    migrate_as_cockroachdb(url)
    assert state_of(url) == usual


def test_a_conflict_is_tried_again(postgres: Postgres, usual: list[Any]) -> None:
    for step in changes_of_migrating(postgres)[5::18]:
        url = serializable(postgres)
        with Injector(url, as_cockroachdb=True) as injector:
            fault = Fault("conflict", step, times=2)
            injector.arm(fault)
            assert migrations.migrate(injector.url)  # the names of those that the last try applied
            assert fault.fired == 2, step
        assert state_of(url) == usual


def migrate_as_cockroachdb(url: str) -> list[str]:
    with Injector(url, as_cockroachdb=True) as injector:
        return migrations.migrate(injector.url)


@pytest.mark.parametrize("kind", ["cut before", "cut after"])
def test_a_migration_that_is_cut_when_it_is_recorded_is_recorded_once(
    postgres: Postgres, usual: list[Any], kind: Kind
) -> None:
    url = serializable(postgres)
    with Injector(url, as_cockroachdb=True) as injector:
        injector.arm(Fault(kind, 'COMMIT of INSERT INTO "sync".migrations (version, name, digest) VALUES ($1, $2, $3)'))
        with pytest.raises((MigrationError, psycopg.OperationalError)):
            migrations.migrate(injector.url)
    migrate_as_cockroachdb(url)
    assert state_of(url) == usual


def test_a_table_of_somebody_else_is_never_taken_for_ours(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_ATTEMPTS", 3)
    url = serializable(postgres)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sync")
        connection.execute("CREATE TABLE sync.clients (theirs text)")
    for _ in range(2):
        with pytest.raises(MigrationError, match="already exists"):
            migrate_as_cockroachdb(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE sync.clients")
    assert migrate_as_cockroachdb(url) == NAMES


def test_several_at_once_do_it_once(postgres: Postgres, usual: list[Any]) -> None:
    url = serializable(postgres)
    done: list[list[str]] = []
    with Injector(url, as_cockroachdb=True) as injector:
        threads = [threading.Thread(target=lambda: done.append(migrations.migrate(injector.url))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(done) == [[], [], [], NAMES]
    assert state_of(url) == usual
