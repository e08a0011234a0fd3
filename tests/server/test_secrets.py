"""Servers of one database that sign with different secrets: each says so, and a change on all is said once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from realms.conftest import serving
from server.databases import role
from server.operating import Operator, Running, config_with
from sync_server import fingerprints
from sync_server.config import Config, Database
from sync_server.keys import Keys
from sync_server.retention.caretaker import Caretaker

OURS = {"secret_key": "our access secret " + "a" * 32, "secret_key_refresh": "our refresh secret " + "r" * 32}
THEIRS = OURS | {"secret_key_refresh": "their refresh secret " + "t" * 32}


def fingerprint(secrets: dict[str, str]) -> str:
    return Keys(secrets["secret_key"], secrets["secret_key_refresh"]).fingerprint


def warnings(running: Running) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in running.log.splitlines() if '"secrets_differ"' in line]
    return [(line["own"], line["other"]) for line in lines]


def test_a_server_says_that_others_of_its_database_have_other_secrets(
    operator: Operator, new_database: Callable[[], str]
) -> None:
    ours, theirs = fingerprint(OURS), fingerprint(THEIRS)
    url = new_database()
    one = operator.serve(config_with({"main": url}, **OURS))
    assert warnings(one) == []
    well = operator.run("check")
    assert f"Secrets: their fingerprint is {ours}\n" in well.out
    assert "OTHER" not in well.out
    other = operator.serve(config_with({"main": url}, **THEIRS))
    assert warnings(other) == [(theirs, ours)]
    operator.write(config_with({"main": url}, **OURS))
    told = operator.run("check")
    assert told.code == 0
    assert f"OTHER SECRETS than this server's are used there ({theirs} until 0 minutes ago)" in told.out
    for secret in {*OURS.values(), *THEIRS.values()}:
        assert secret not in told.out + told.err + one.log + other.log


def said(work: Callable[[], object]) -> list[tuple[str, str]]:
    with capture_logs() as entries:
        work()
    return [(entry["own"], entry["other"]) for entry in entries if entry["event"] == "secrets_differ"]


def test_it_is_said_as_long_as_both_are_there_and_no_longer(database_url: str) -> None:
    def start(own: str) -> list[tuple[str, str]]:
        return said(lambda: fingerprints.leave_at_start("main", "sync", database_url, own))

    def go_on(own: str) -> list[tuple[str, str]]:
        async def work() -> None:
            async with serving({"main": database_url}) as realms:
                await fingerprints.leave(realms.get("main"), own)

        return said(lambda: asyncio.run(work()))

    assert start("old") == []
    assert start("new") == [("new", "old")]
    assert start("new") == []
    assert go_on("new") == []
    assert go_on("old") == [("old", "new")]
    assert go_on("new") == [("new", "old")]
    assert go_on("new") == []
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE sync.fingerprints SET seen = seen - 2 * 60 * 60 * 1000")
    assert start("third") == []


def test_each_round_of_the_caretaker_leaves_it(database_url: str) -> None:
    async def work() -> None:
        async with serving({"main": database_url}) as realms:
            config = Config(Database({}), base=Path("/nonexistent"))
            await Caretaker(config, realms, Keys(*OURS.values())).visit(realms.get("main"))

    asyncio.run(work())
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT fingerprint FROM sync.fingerprints").fetchall()
    assert left == [(fingerprint(OURS),)]


def test_a_role_that_may_not_leave_it_serves_all_the_same(database_url: str) -> None:
    url = role(database_url, "no_fingerprints", "GRANT USAGE ON SCHEMA sync")
    with capture_logs() as entries:
        fingerprints.leave_at_start("main", "sync", url, "own")
    assert [entry["event"] for entry in entries] == ["secrets_not_compared"]


@pytest.mark.parametrize("key", OURS)
def test_each_secret_counts(key: str) -> None:
    assert fingerprint(OURS) == fingerprint(dict(OURS))
    assert fingerprint(OURS) != fingerprint(OURS | {key: "another"})
