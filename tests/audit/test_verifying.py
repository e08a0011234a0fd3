"""Whoever changes the log, or the history that it covers, is found out; what is erased or pruned by rule is no finding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from audit.conftest import Database, in_realm
from audit.test_recording import write
from sync_server.audit import contents, verifying
from sync_server.audit.chain import ADMINS, Line
from sync_server.audit.verifying import End, StoredLine, Verified
from sync_server.realms import Realm
from sync_server.retention import pruning
from users import NewUser, User


def verified(
    database: Database, chain: UUID = ADMINS, known: Mapping[UUID, End] | None = None, **settings: Any
) -> Verified:
    """What is found of one chain."""

    async def run(realm: Realm) -> list[Verified]:
        return [one async for one in verifying.verify(realm, known)]

    chains = in_realm(database.url, run, **settings)
    return next(one for one in chains if one.chain == chain)


def problems(found: Verified) -> list[tuple[int, str]]:
    return [(finding.number, finding.problem) for finding in found.findings]


@contextmanager
def tampering(database: Database) -> Iterator[Database]:
    """As the owner of the tables can."""
    for table in ("audit_lines", "audit_details"):
        database.connection.execute(f"ALTER TABLE sync.{table} DISABLE TRIGGER USER".encode())
    yield database
    for table in ("audit_lines", "audit_details"):
        database.connection.execute(f"ALTER TABLE sync.{table} ENABLE TRIGGER USER".encode())


@pytest.fixture
def unguarded(migrated: str) -> Iterator[Database]:
    """Five lines of admins, in a database whose triggers are off."""
    with tampering(Database(migrated)) as database:
        database.connection.execute("TRUNCATE sync.audit_lines, sync.audit_details, sync.audit_chains")
        for _ in range(5):
            write(database)
        yield database
    database.connection.close()


def test_a_log_as_it_was_written_has_no_findings(unguarded: Database) -> None:
    found = verified(unguarded)
    assert (found.lines, found.number, found.findings) == (5, 5, [])
    assert found.hash == unguarded.select("SELECT hash FROM sync.audit_lines WHERE number = 5")[0]["hash"]


@pytest.mark.parametrize("column", ["action", "entity", "entity_id", "realm", "role", "via", "request_id"])
def test_a_changed_text_shows(unguarded: Database, column: str) -> None:
    unguarded.connection.execute(f"UPDATE sync.audit_lines SET {column} = 'x' WHERE number = 3".encode())
    assert problems(verified(unguarded)) == [(3, "changed, or the line before it was")]


@pytest.mark.parametrize(
    "change", ["at = at - 1", "user_id = gen_random_uuid()", "user_id = NULL", "client_id = user_id"]
)
def test_a_change_of_who_or_when_shows(unguarded: Database, change: str) -> None:
    unguarded.connection.execute(f"UPDATE sync.audit_lines SET {change} WHERE number = 3".encode())
    assert problems(verified(unguarded)) == [(3, "changed, or the line before it was")]


def test_changed_values_and_addresses_show(unguarded: Database) -> None:
    unguarded.connection.execute("UPDATE sync.audit_details SET content = '{}' WHERE number = 2")
    unguarded.connection.execute("UPDATE sync.audit_details SET address = '198.51.100.1' WHERE number = 4")
    assert problems(verified(unguarded)) == [(2, "its values were changed"), (4, "its address was changed")]


def test_removed_lines_show_in_the_middle_and_at_both_ends(unguarded: Database) -> None:
    unguarded.connection.execute("DELETE FROM sync.audit_lines WHERE number = 3")
    assert problems(verified(unguarded)) == [(3, "line 3 is missing")]
    unguarded.connection.execute("DELETE FROM sync.audit_lines WHERE number <= 3")
    assert problems(verified(unguarded)) == [(1, "lines 1 to 3 are missing")]
    unguarded.connection.execute("DELETE FROM sync.audit_lines WHERE number = 5")
    assert problems(verified(unguarded))[-1] == (5, "missing from here on: the chain had 5 lines")


def test_a_log_that_is_all_gone_shows(unguarded: Database) -> None:
    unguarded.connection.execute("DELETE FROM sync.audit_lines")
    assert problems(verified(unguarded)) == [(1, "missing from here on: the chain had 5 lines")]


def test_removed_details_show(unguarded: Database) -> None:
    unguarded.connection.execute("DELETE FROM sync.audit_details WHERE number = 5")
    assert problems(verified(unguarded)) == [(5, "its details are missing")]


def copied(database: Database, number: int, **differences: Any) -> dict[str, Any]:
    """The last line as another one, with its details."""
    [line] = database.select("SELECT * FROM sync.audit_lines WHERE number = 5")
    [details] = database.select("SELECT * FROM sync.audit_details WHERE number = 5")
    for table, row in (("audit_lines", {**line, **differences}), ("audit_details", details)):
        row["number"] = number
        names = ", ".join(row)
        values = ", ".join(["%s"] * len(row))
        text = f"INSERT INTO sync.{table} ({names}) VALUES ({values})"
        database.connection.execute(text.encode(), list(row.values()))
    return line


def test_a_line_that_was_put_in_shows(unguarded: Database) -> None:
    copied(unguarded, 6)
    assert (6, "added behind the end of the chain") in [(6, text) for _, text in problems(verified(unguarded))]
    assert (6, "changed, or the line before it was") in problems(verified(unguarded))


def test_a_forged_line_shows_by_the_end_that_is_kept_apart(unguarded: Database) -> None:
    """Its hash is right: whoever writes it knows how."""
    [last] = unguarded.select("SELECT * FROM sync.audit_lines WHERE number = 5")
    forged = Line(**{name: last[name] for name in Line._fields})._replace(number=6)
    copied(unguarded, 6, hash=forged.hash(last["hash"]))
    assert problems(verified(unguarded)) == [(6, "added behind the end of the chain")]


def test_a_rewritten_chain_shows_only_by_what_was_noted_elsewhere(unguarded: Database) -> None:
    """All hashes are right, and the end too: that is what the docs say of who owns the tables."""
    noted = verified(unguarded)
    known = {ADMINS: End(noted.number, noted.hash)}
    assert problems(verified(unguarded, known=known)) == []
    previous = ""
    for row in unguarded.select("SELECT * FROM sync.audit_lines ORDER BY number"):
        line = Line(**{name: row[name] for name in Line._fields})._replace(role="owner")
        previous = line.hash(previous)
        change = "UPDATE sync.audit_lines SET role = 'owner', hash = %s WHERE number = %s"
        unguarded.connection.execute(change, [previous, line.number])
    unguarded.connection.execute("UPDATE sync.audit_chains SET hash = %s", [previous])
    assert problems(verified(unguarded)) == []
    assert problems(verified(unguarded, known=known)) == [(5, "its hash is not that of what was noted earlier")]


def test_a_shortened_chain_shows_by_what_was_noted_elsewhere(unguarded: Database) -> None:
    known = {ADMINS: End(5, verified(unguarded).hash)}
    unguarded.connection.execute("DELETE FROM sync.audit_lines WHERE number = 5")
    unguarded.connection.execute(
        "UPDATE sync.audit_chains SET number = 4, hash = (SELECT hash FROM sync.audit_lines WHERE number = 4)"
    )
    assert problems(verified(unguarded)) == []
    assert problems(verified(unguarded, known=known)) == [(5, "missing from here on: the chain had 5 lines")]


def test_a_chain_that_is_gone_with_its_end_shows_by_what_was_noted_elsewhere(unguarded: Database) -> None:
    chain = uuid4()
    found = verified(unguarded, chain, known={chain: End(3, "x")})
    assert problems(found) == [(3, "the chain is gone")]


def test_lines_that_retention_removed_are_no_finding(unguarded: Database) -> None:
    unguarded.connection.execute(
        "UPDATE sync.audit_chains SET pruned = 2, pruned_hash = (SELECT hash FROM sync.audit_lines WHERE number = 2)"
    )
    unguarded.connection.execute("DELETE FROM sync.audit_lines WHERE number <= 2")
    found = verified(unguarded)
    assert (found.lines, problems(found)) == (3, [])


def test_retention_removes_the_beginnings_of_chains(unguarded: Database) -> None:
    """As far as all lines are old; with the triggers on."""
    unguarded.connection.execute("UPDATE sync.audit_lines SET at = at - 86400000 * 3 WHERE number <> 4")
    for table in ("audit_lines", "audit_details"):
        unguarded.connection.execute(f"ALTER TABLE sync.{table} ENABLE TRIGGER USER".encode())
    days = {name: None if name == "tombstones" else 2 for name in ("tombstones", "audit")}
    in_realm(unguarded.url, lambda realm: pruning.prune(realm, pruning.ages(realm.settings.retention), math.inf))
    assert verified(unguarded).lines == 5, "kept, unless something else is said"

    async def prune(realm: Realm) -> tuple[int, int]:
        ages = pruning.ages(realm.settings.retention)
        counted = await pruning.count(realm, ages)
        return counted["audit"], (await pruning.prune(realm, ages, math.inf))["audit"]

    assert in_realm(unguarded.url, prune, retention=days) == (4, 3)
    assert [line["number"] for line in unguarded.select("SELECT number FROM sync.audit_details ORDER BY 1")] == [4, 5]
    found = verified(unguarded)
    assert (found.lines, found.number) == (2, 5)
    assert problems(found) == [(5, "changed, or the line before it was")], "its date is another one"
    write(unguarded)
    assert verified(unguarded).number == 6


def test_values_that_were_erased_while_the_user_is_there_show(unguarded: Database) -> None:
    user = uuid4()
    unguarded.connection.execute("INSERT INTO sync.spaces (id) VALUES (%s)", [user])
    unguarded.connection.execute(
        "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash) VALUES (%s, %s, '', '', '', '')",
        [user, user],
    )
    write(unguarded, user=user)
    unguarded.connection.execute("UPDATE sync.audit_details SET content = NULL, content_salt = NULL WHERE number >= 5")
    found = verified(unguarded)
    assert found.erased == 2
    assert problems(found) == [(6, "its values were erased, but the user is there")]


# Pushes.


@pytest.fixture
def database(databases: dict[str, Database]) -> Iterator[Database]:
    with tampering(databases["full"]) as database:
        yield database


@pytest.fixture
def user(new_user: NewUser) -> User:
    """Who has pushed three times: two rows, then one of them again, then a delete."""
    user = new_user()
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.insert("todos", "2", {"title": "bread"})
    phone.sync()
    phone.update("todos", "1", {"title": "cheese"})
    phone.sync()
    phone.delete("todos", "2")
    phone.sync()
    assert user.space_id, "asked for while there is one"
    return user


def test_pushes_as_they_came_have_no_findings(user: User, database: Database) -> None:
    found = verified(database, user.space_id)
    assert (found.lines, found.findings, found.erased, found.uncovered) == (3, [], 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        'row_data = \'{"title": "beer"}\'',
        "row_data = NULL",
        "operation = 'I'",
        "client_date = client_date + 1",
        "tablename = 'notes'",
        "rowguid = '3'",
        "old_stamp = NULL",
        "old_ordinal = 7",
        "old_data = '{}'",
    ],
)
def test_a_changed_history_shows(user: User, database: Database, change: str) -> None:
    stamp = user.history()[2]["stamp"]
    text = f"UPDATE sync.history SET {change} WHERE space_id = %s AND stamp = %s"
    assert database.connection.execute(text.encode(), [user.space_id, stamp]).rowcount == 1
    first, *others = problems(verified(database, user.space_id))
    assert first == (2, "what it changed is not what the history says")
    assert {number for number, _ in others} <= {0}, "the row that it is about"


def test_a_change_that_was_removed_from_the_history_shows(user: User, database: Database) -> None:
    database.connection.execute("DELETE FROM sync.history WHERE space_id = %s AND rowguid = '2'", [user.space_id])
    gone = [(1, "the history has 1 of its 2 changes"), (3, "the history has 0 of its 1 changes")]
    assert problems(verified(database, user.space_id)) == gone


def put_in(database: Database, user: User, stamp: int) -> None:
    database.connection.execute(
        "INSERT INTO sync.history"
        " SELECT space_id, %s, 77, user_id, client_id, tablename, '9', operation, client_date, row_data"
        " FROM sync.history WHERE space_id = %s ORDER BY stamp LIMIT 1",
        [stamp, user.space_id],
    )


def test_a_change_that_was_put_into_a_push_shows(user: User, database: Database) -> None:
    put_in(database, user, user.history()[2]["stamp"])
    assert problems(verified(database, user.space_id)) == [(2, "the history has 2 of its 1 changes")]


@pytest.mark.parametrize("change", ["row_data = '{}'", "operation = 'U', row_data = NULL", "stamp = %s"])
def test_a_row_that_was_changed_past_the_history_shows(user: User, database: Database, change: str) -> None:
    other = [user.history()[-1]["stamp"]] if "%s" in change else []
    text = f"UPDATE sync.rows SET {change} WHERE space_id = %s AND rowguid = '1'"
    assert database.connection.execute(text.encode(), [*other, user.space_id]).rowcount == 1
    assert problems(verified(database, user.space_id)) == [(0, "the row todos/1 is not what the history says")]


def test_a_change_that_no_push_covers_is_counted(user: User, database: Database) -> None:
    put_in(database, user, user.history()[2]["stamp"] - 1)
    found = verified(database, user.space_id)
    assert (found.uncovered, found.findings) == (1, [])


def test_what_retention_has_pruned_is_no_finding(user: User, database: Database) -> None:
    """Where it may have pruned it; what is younger than that is missed."""
    database.connection.execute("DELETE FROM sync.history WHERE space_id = %s", [user.space_id])
    assert len(verified(database, user.space_id, retention={"history": 1}).findings) == 3

    async def in_two_days(realm: Realm) -> tuple[int, list[tuple[int, str]]]:
        parameters = {"chain_id": user.space_id, "after": 0, "rows": 10}
        lines = await realm.read(lambda tx: tx.all(StoredLine, "lines_of_chain", parameters))
        look = contents.Look(realm, user.space_id)
        found = await look.through(lines, lines[-1].at + 2 * 86_400_000)
        return look.pruned, found

    assert in_realm(database.url, in_two_days, retention={"history": 1}) == (3, [])
    assert len(in_realm(database.url, in_two_days)[1]) == 3, "without such a rule it is missed, however old"


def test_somebody_who_is_forgotten_leaves_a_chain_that_verifies(user: User, database: Database) -> None:
    """On their own demand, by the wire."""
    user.devices[0].unregister(delete_remote_data=True)
    found = verified(database, user.space_id)
    assert (found.lines, found.erased, found.findings) == (3, 3, [])
    kept = database.select("SELECT * FROM sync.audit_details WHERE chain_id = %s", user.space_id)
    assert len(kept) == 3
    assert {(each["address"], each["content"], each["content_salt"], each["address_salt"]) for each in kept} == {
        (None,) * 4
    }
    assert not user.history()
    deleted = "SELECT * FROM sync.audit_lines WHERE action = 'user.delete' AND entity_id = %s"
    [line] = database.select(deleted, str(kept[0]["user_id"]))
    assert (line["user_id"], line["via"], line["changes"]) == (kept[0]["user_id"], "wire", None)


def test_lines_behind_somebody_who_is_forgotten_still_show(user: User, database: Database) -> None:
    user.devices[0].unregister(delete_remote_data=True)
    database.connection.execute("DELETE FROM sync.audit_lines WHERE chain_id = %s AND number = 3", [user.space_id])
    gone = [(3, "missing from here on: the chain had 3 lines")]
    assert problems(verified(database, user.space_id)) == gone


def test_pushes_go_on_while_the_log_is_verified(user: User, database: Database) -> None:
    phone = user.devices[0]

    async def run(realm: Realm) -> list[Verified]:
        found: list[Verified] = []
        async for one in verifying.verify(realm):
            phone.save("todos", "1", {"title": f"while {len(found)}"})
            phone.sync()
            found.append(one)
        return found

    mine = next(one for one in in_realm(database.url, run) if one.chain == user.space_id)
    assert mine.findings == []
