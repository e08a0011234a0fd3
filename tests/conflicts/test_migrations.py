"""Migrations meet conflicts and lost connections at every statement, too: everything is applied, and once (G10)."""

from __future__ import annotations

import psycopg
import pytest

from conflicts.conftest import serializable
from conflicts.injector import ALWAYS, Fault, Injector, Kind
from conflicts.test_every_statement import EVERY
from postgres import Postgres
from sync_server import migrations

NAMES = [migration.name for migration in migrations.available()]
RECORDS = "SELECT name FROM sync.migrations WHERE version > 0 ORDER BY version"


def steps_of_migrating(postgres: Postgres) -> list[str]:
    with Injector(serializable(postgres)) as injector:
        assert migrations.migrate(injector.url) == NAMES
        steps = [step for step in injector.steps if step != "ROLLBACK"]
    assert len(steps) > len(NAMES) * 2
    return steps


def recorded(url: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [name for (name,) in connection.execute(RECORDS).fetchall()]


def test_conflicts_once_at_each_statement(postgres: Postgres) -> None:
    """At every fourth, unless all are asked for: what a migration begins, does and ends with has its turn in one of them."""
    steps = steps_of_migrating(postgres)
    for number in range(0, len(steps), 1 if EVERY else 4):
        step, url = steps[number], serializable(postgres)
        with Injector(url) as injector:
            fault = Fault("conflict", step, steps[: number + 1].count(step))
            injector.arm(fault)
            assert migrations.migrate(injector.url) == NAMES, step
            assert fault.fired == 1, step
        assert recorded(url) == NAMES, step


@pytest.mark.parametrize("kind", ["cut before", "cut after"])
def test_cut_at_the_ends_it_can_be_run_again(postgres: Postgres, kind: Kind) -> None:
    commit = next(step for step in steps_of_migrating(postgres) if step.startswith("COMMIT"))
    for step in ("BEGIN", commit):
        url = serializable(postgres)
        with Injector(url) as injector:
            fault = Fault(kind, step)
            injector.arm(fault)
            with pytest.raises((migrations.MigrationError, psycopg.OperationalError)):
                migrations.migrate(injector.url)
            assert fault.fired == 1
            done = step == commit and kind == "cut after"
            assert migrations.migrate(injector.url) == ([] if done else NAMES)
        assert recorded(url) == NAMES


def test_conflicts_without_end_are_told_and_leave_nothing(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_ATTEMPTS", 3)
    commit = next(step for step in steps_of_migrating(postgres) if step.startswith("COMMIT"))
    url = serializable(postgres)
    with Injector(url) as injector:
        fault = Fault("conflict", commit, times=ALWAYS)
        injector.arm(fault)
        with pytest.raises(migrations.MigrationError, match="could not serialize access"):
            migrations.migrate(injector.url)
        assert fault.fired == 3
    assert recorded(url) == []
    assert migrations.migrate(url) == NAMES
