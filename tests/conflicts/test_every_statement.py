"""Conflicts (40001) and lost connections at every statement of every call and at its COMMIT: the same outcome (G5, G10).

CockroachDB may ask for any transaction to be run again, at any statement and at the commit.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from conflicts.injector import ALWAYS, Fault, Kind
from conflicts.looking import State, state
from conflicts.scenarios import SCENARIOS, Actor, Outcome, Scenario, World
from sync_server.database import sql_directory

EVERY = bool(os.environ.get("SYNC_TEST_EVERY_STATEMENT"))
"""Whether conflicts that never end are tried at every statement, not just at the first, the last and the commits: whichever
it is, the same loop runs the transaction again, and waits each time."""
SHORT = ["push", "pull"]
"""Calls that stand for all where conflicts never end."""
SELDOM = ["register again", "login again", "upload", "unregister", "unregister with data", "forgotten", "change"]
"""Calls of many statements, which .ci/run leaves out."""
CUT_SELDOM = ["paged pull", "cancel", "wrong password", "join"]
"""Calls whose connection it rarely cuts: each commits as one of the others does."""
BACKGROUND = ("mail", "reports")
"""Files whose statements belong to no call."""


@pytest.fixture(scope="module")
def of_no_call() -> set[str]:
    texts = [(sql_directory() / "queries" / f"{name}.sql").read_text() for name in BACKGROUND]
    names = [line for text in texts for line in text.splitlines() if line.startswith("-- name")]
    return {name.removeprefix("-- name: ") for name in names} | {"count_syncs"}  # which is asked once a second


def ready(world: World, scenario: Scenario) -> tuple[Actor, State, set[str]]:
    world.injector.arm()
    actor = scenario.ready(Actor(world, world.new_calls()))
    ids: set[str] = set()
    return actor, state(world.database, actor.phone.email, ids), ids


def reference(world: World, scenario: Scenario, of_no_call: set[str]) -> tuple[Outcome, State, list[tuple[str, int]]]:
    """The outcome without a fault, what the database holds then, and the statements that were run, each with its count."""
    actor, _, ids = ready(world, scenario)
    world.injector.arm()
    outcome, _ = scenario.run(actor)
    assert outcome[0] == scenario.status, outcome
    names = world.injector.steps
    counts: Counter[str] = Counter()
    steps = []
    for name in names:
        counts[name] += 1
        # of several transactions each has its own COMMIT, but a BEGIN may be that of the courier, who sends mails meanwhile
        begun = name == "BEGIN" and counts[name] > 1
        if name.removeprefix("COMMIT of ") not in of_no_call and name not in {"ROLLBACK", "SELECT 1"} and not begun:
            steps.append((name, counts[name]))
    assert len(steps) > 0
    return outcome, state(world.database, actor.phone.email, ids), steps


def check_state(found: State, expected: State, where: str) -> None:
    for table, rows in expected.items():
        surplus, missing = set(found[table]) - set(rows), set(rows) - set(found[table])
        assert not surplus, f"{where}: {table}: {surplus} instead of {missing}"
        assert len(found[table]) == len(rows), f"{where}: {table}"


def check_mails(scenario: Scenario, actor: Actor) -> None:
    if scenario.mailed:
        assert actor.world.outbox.pin(actor.phone.email, scenario.mailed)


def each() -> Iterator[Any]:
    for name in SCENARIOS:
        for kind in ("conflict", "cut before", "cut after"):
            seldom = name in SELDOM or (kind != "conflict" and name in CUT_SELDOM)
            yield pytest.param(name, kind, marks=[pytest.mark.long] if seldom else [])


@pytest.mark.parametrize(("name", "kind"), [*each()])
def test_once_at_each_statement_changes_nothing_of_the_outcome(
    world: World, of_no_call: set[str], name: str, kind: Kind
) -> None:
    scenario = SCENARIOS[name]
    expected, after, steps = reference(world, scenario, of_no_call)
    for number, (step, occurrence) in enumerate(steps):
        if kind != "conflict" and number and not step.startswith("COMMIT"):
            continue  # what is lost before the commit is lost alike
        actor, _, ids = ready(world, scenario)
        retried = world.log().count("transaction_retried" if kind == "conflict" else "database_error")
        fault = Fault(kind, step, occurrence)
        world.injector.arm(fault)
        outcome, _ = scenario.run(actor)
        world.injector.arm()
        assert fault.fired == 1, f"{step} #{occurrence} did not run"
        assert outcome == expected, f"{kind} at {step} #{occurrence}"
        check_state(state(world.database, actor.phone.email, ids), after, f"{kind} at {step} #{occurrence}")
        counted = world.log().count("transaction_retried" if kind == "conflict" else "database_error")
        assert counted > retried, f"nothing told of {kind} at {step}"
        check_mails(scenario, actor)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in SHORT])
def test_for_ever_at_a_statement_of_any_other_call(world: World, of_no_call: set[str], name: str) -> None:
    for_ever(world, of_no_call, name)


@pytest.mark.parametrize("name", SHORT)
def test_for_ever_at_a_statement_ends_in_503_and_changes_nothing(world: World, of_no_call: set[str], name: str) -> None:
    for_ever(world, of_no_call, name)


def for_ever(world: World, of_no_call: set[str], name: str) -> None:
    scenario = SCENARIOS[name]
    expected, after, steps = reference(world, scenario, of_no_call)
    for number, (step, occurrence) in enumerate(steps):
        if not EVERY and 0 < number < len(steps) - 1 and not step.startswith("COMMIT"):
            continue
        actor, before, ids = ready(world, scenario)
        fault = Fault("conflict", step, occurrence, ALWAYS)
        world.injector.arm(fault)
        outcome, reply = scenario.run(actor)
        world.injector.arm()
        where = f"conflicts at {step} #{occurrence}"
        if reply is None:
            assert step.startswith("page_of_") or step in {"plan_by_index", "COMMIT of plan_by_index", "BEGIN"}, where
        else:
            assert outcome[0] == 503, where
            assert 1 <= int(reply.headers["retry-after"]) <= 60, where
        assert 2 <= fault.fired <= 10, where
        now = state(world.database, actor.phone.email, ids)
        assert {table for table in now if now[table] != before[table]} <= scenario.keeps, where
        again, _ = scenario.run(actor)
        assert again == expected, f"after {where}"
        check_state(state(world.database, actor.phone.email, ids), after, f"after {where}")
        check_mails(scenario, actor)
