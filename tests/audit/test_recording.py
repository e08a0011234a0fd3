"""What admins do is recorded in the transaction that does it, chained, and stays as it is."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors

from audit.conftest import Database
from postgres import Postgres
from sync_server import migrations
from sync_server.audit import Acting, record
from sync_server.audit.chain import ADMINS, Line, digest
from sync_server.database import Tx

ADMIN = Acting(user_id=uuid4(), realm="main", role="admin", address="192.0.2.7", request_id="r-1")
CHANGE: dict[str, Any] = {"old": {"name": "Ann"}, "new": {"name": "Anna"}}


def lines(database: Database) -> list[dict[str, Any]]:
    return database.select(
        "SELECT * FROM sync.audit_lines l JOIN sync.audit_details d USING (chain_id, number) ORDER BY number"
    )


def write(database: Database, acting: Acting = ADMIN, user: UUID | None = None, **values: Any) -> UUID:
    user = user or uuid4()
    given = {**CHANGE, **values}
    database.transact(lambda tx: record(tx, acting, action="user.update", entity="user", entity_id=user, **given))
    return user


def test_a_line_says_who_did_what(fresh: Database) -> None:
    user = write(fresh)
    [line] = lines(fresh)
    assert (line["action"], line["entity"], line["entity_id"]) == ("user.update", "user", str(user))
    assert (line["user_id"], line["realm"], line["role"], line["via"]) == (ADMIN.user_id, "main", "admin", "api")
    assert (line["address"], line["request_id"], line["subject_id"]) == ("192.0.2.7", "r-1", user)
    assert json.loads(line["content"]) == CHANGE


def test_secrets_are_not_kept(fresh: Database) -> None:
    secrets = ("password", "password_hash", "pin", "refresh_token", "client_secret")
    write(fresh, old=dict.fromkeys(secrets, "hunter2"), new={"token_epoch": 3, "shipping": "yes"})
    [line] = lines(fresh)
    assert "hunter2" not in line["content"]
    assert json.loads(line["content"])["new"] == {"token_epoch": 3, "shipping": "yes"}


def test_each_line_is_chained_to_the_one_before(fresh: Database) -> None:
    for _ in range(3):
        write(fresh)
    previous = ""
    for number, found in enumerate(lines(fresh), 1):
        line = Line(**{name: found[name] for name in Line._fields})
        assert line.number == number
        assert found["hash"] == line.hash(previous)
        assert found["content_digest"] == digest(found["content_salt"], found["content"])
        assert found["address_digest"] == digest(found["address_salt"], found["address"])
        previous = found["hash"]
    [chain] = fresh.select("SELECT * FROM sync.audit_chains")
    assert (chain["chain_id"], chain["number"], chain["hash"]) == (ADMINS, 3, previous)


def test_what_is_undone_leaves_no_line_and_no_gap(fresh: Database) -> None:
    async def fail(tx: Tx) -> None:
        await record(tx, ADMIN, action="user.update", entity="user", entity_id=uuid4())
        raise ValueError

    write(fresh)
    with pytest.raises(ValueError):  # noqa: PT011 - that one
        fresh.transact(fail)
    write(fresh)
    assert [line["number"] for line in lines(fresh)] == [1, 2]


def test_lines_of_the_same_moment_follow_one_another(fresh: Database) -> None:
    async def one() -> None:
        async with await psycopg.AsyncConnection.connect(fresh.url, autocommit=True) as connection:
            while True:
                with suppress(errors.SerializationFailure):  # where the database is serializable
                    return await line(connection)

    async def line(connection: psycopg.AsyncConnection[Any]) -> None:
        async with connection.transaction():
            tx = Tx(connection, "sync")
            await record(tx, ADMIN, action="user.update", entity="user", entity_id=uuid4())
            await asyncio.sleep(0.01)

    async def several() -> None:
        await asyncio.gather(*(one() for _ in range(8)))

    asyncio.run(several())
    found = lines(fresh)
    assert [line["number"] for line in found] == list(range(1, 9))
    assert all(
        Line(**{name: line[name] for name in Line._fields}).hash(before["hash"]) == line["hash"]
        for before, line in pairwise(found)
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sync.audit_lines SET role = 'owner'",
        "DELETE FROM sync.audit_lines",
        "TRUNCATE sync.audit_lines",
        "UPDATE sync.audit_details SET content = 'another'",
        "UPDATE sync.audit_details SET number = number + 1",
        "DELETE FROM sync.audit_details",
        "TRUNCATE sync.audit_details",
    ],
)
def test_postgresql_lets_nobody_change_a_line_by_mistake(database: Database, statement: str) -> None:
    write(database)
    with pytest.raises(errors.RaiseException, match="audit log"):
        database.connection.execute(statement.encode())


def test_what_is_personal_can_be_erased(database: Database) -> None:
    user = write(database)
    erase = "UPDATE sync.audit_details SET content = NULL, content_salt = NULL WHERE subject_id = %s"
    assert database.connection.execute(erase, [user]).rowcount == 1


def test_lines_that_retention_has_taken_note_of_may_go(fresh: Database) -> None:
    for _ in range(2):
        write(fresh)
    fresh.connection.execute("UPDATE sync.audit_chains SET pruned = 1")
    for table in ("audit_lines", "audit_details"):
        fresh.connection.execute(f"DELETE FROM sync.{table} WHERE number = 1".encode())
        with pytest.raises(errors.RaiseException):
            fresh.connection.execute(f"DELETE FROM sync.{table} WHERE number = 2".encode())


def test_a_realm_with_a_schema_of_its_own_is_guarded_there(postgres: Postgres) -> None:
    url = postgres.create_database(f"audit_{uuid4().hex[:8]}")
    migrations.migrate(url, "elsewhere")
    database = Database(url, "elsewhere")
    write(database)
    with pytest.raises(errors.RaiseException, match="append-only"):
        database.connection.execute('DELETE FROM "elsewhere".audit_lines')
    database.connection.close()
