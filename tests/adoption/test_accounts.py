"""Accounts in later runs: addresses, passwords, clients that came, and those that left."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import Any

import psycopg
import pytest

from adoption.conftest import adopt
from adoption.old_tables import WRITTEN
from retention.conftest import run
from sync_server.accounts import management
from sync_server.accounts.passwords import Passwords
from users import look_into

CARL, SMALL_CARL = "a2799e5b-c59b-4811-a067-4d8a984c48c5", "075c4a2b-1984-40ed-8bb0-0a753fb23023"
BEA = "4d9f7078-5b9a-4fb2-9586-9289c0eae901"


def write(url: str, text: str, *values: object) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode(), values)


def read(url: str, text: str, *values: object) -> list[dict[str, Any]]:
    with look_into(url) as connection:
        return connection.execute(text.encode(), values).fetchall()


def hash_of(url: str, user_id: str) -> str:
    (user,) = read(url, "SELECT password_hash FROM sync.users WHERE id = %s", user_id)
    assert isinstance(user["password_hash"], str)
    return user["password_hash"]


def opens(url: str, user_id: str, password: str) -> bool:
    return asyncio.run(Passwords(4).verify(password, hash_of(url, user_id)))


def set_old_password(url: str, user_id: str, password: str) -> None:
    digest = hashlib.sha512(f"{password}new salt".encode()).hexdigest()
    write(url, "UPDATE public.users SET password = %s, salt = 'new salt' WHERE id = %s", digest, user_id)


@pytest.mark.parametrize("name", ["ann", "bea", "carl", "dora"])
def test_stored_passwords_open(old_database: str, name: str) -> None:
    adopt(old_database)
    held = WRITTEN["cursors"][name]
    (user,) = read(old_database, "SELECT user_id FROM sync.clients WHERE id = %s", held["clientId"])
    assert opens(old_database, user["user_id"], held["password"])
    assert not opens(old_database, user["user_id"], held["password"] + " ")


@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE public.users SET email = 'small.carl@example.com' WHERE id = '{SMALL_CARL}'",
        f"UPDATE public.users SET email = 'big.carl@example.com' WHERE id = '{CARL}'",
        f"UPDATE sync.users SET email = 'x@example.com', email_key = 'x@example.com' WHERE id = '{CARL}'",
    ],
    ids=["of the one that waits", "of the other one", "of the other one, here"],
)
def test_an_account_that_waits_is_taken_over_when_one_address_has_changed(old_database: str, change: str) -> None:
    assert adopt(old_database).not_taken_over["address_differs_in_case"] == 1
    write(old_database, change)
    report = adopt(old_database)
    assert report.adopted_accounts == 5
    assert "address_differs_in_case" not in report.not_taken_over
    assert opens(old_database, SMALL_CARL, "other-pass")
    assert [
        row["rowguid"] for row in read(old_database, "SELECT rowguid FROM sync.rows WHERE space_id = %s", SMALL_CARL)
    ] == ["15a01783-44b6-4e2f-a6c3-889883870307"]
    (carl,) = read(old_database, "SELECT email FROM sync.users WHERE id = %s", CARL)
    assert carl["email"] == (
        "big.carl@example.com" if "big." in change else "x@example.com" if "x@" in change else carl["email"]
    )
    assert len({user["email_key"] for user in read(old_database, "SELECT email_key FROM sync.users")}) == 5


def test_an_address_that_was_registered_here_first_is_reported(old_database: str) -> None:
    adopt(old_database)
    new, old = uuid.uuid4(), uuid.uuid4()
    write(old_database, "INSERT INTO sync.spaces (id) VALUES (%s)", new)
    insert = """INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
        VALUES (%s, %s, 'eve@example.com', 'eve@example.com', '', '')"""
    write(old_database, insert, new, new)
    insert = "INSERT INTO public.users (id, email, password, salt) VALUES (%s, 'Eve@example.com', '', '')"
    write(old_database, insert, old)
    report = adopt(old_database)
    assert report.not_taken_over["address_in_use"] == 1
    assert read(old_database, "SELECT 1 FROM sync.users WHERE id = %s", old) == []


def test_a_password_that_was_changed_there_is_changed_here(old_database: str) -> None:
    adopt(old_database)
    set_old_password(old_database, BEA, "new ✓")
    adopt(old_database)
    assert opens(old_database, BEA, "new ✓")
    (user,) = read(old_database, "SELECT token_epoch FROM sync.users WHERE id = %s", BEA)
    assert user["token_epoch"] == 1, "tokens of the old password are void"
    set_old_password(old_database, BEA, "newer")
    adopt(old_database)
    assert opens(old_database, BEA, "newer")


def test_a_renewed_hash_is_no_change_of_the_password(old_database: str) -> None:
    adopt(old_database)
    renewed = asyncio.run(Passwords(4).hash("pässwörd ✓"))
    write(old_database, "UPDATE sync.users SET password_hash = %s WHERE id = %s", renewed, BEA)
    adopt(old_database)
    assert hash_of(old_database, BEA) == renewed
    set_old_password(old_database, BEA, "new ✓")
    adopt(old_database)
    assert opens(old_database, BEA, "new ✓")


def test_a_password_that_was_changed_here_stays(old_database: str) -> None:
    adopt(old_database)
    here = asyncio.run(Passwords(4).hash("changed here"))
    change = "UPDATE sync.users SET password_hash = %s, token_epoch = token_epoch + 1 WHERE id = %s"
    write(old_database, change, here, BEA)
    set_old_password(old_database, BEA, "changed there")
    for _ in range(2):
        report = adopt(old_database)
        assert hash_of(old_database, BEA) == here
        assert report.not_taken_over["password_changed_on_both"] == 1


def test_who_left_here_stays_away(old_database: str) -> None:
    adopt(old_database)
    tablet = WRITTEN["cursors"]["ann2"]["clientId"]
    write(old_database, "DELETE FROM sync.users WHERE id = %s", BEA)
    write(old_database, "DELETE FROM sync.clients WHERE id = %s", tablet)
    write(old_database, "UPDATE public.user_clients SET lastsync = lastsync + 1")
    write(old_database, "UPDATE public.users SET password = repeat('0', 128)")
    report = adopt(old_database)
    assert (report.adopted_accounts, report.accounts_left_since) == (3, 1)
    assert read(old_database, "SELECT 1 FROM sync.users WHERE id = %s", BEA) == []
    assert read(old_database, "SELECT 1 FROM sync.clients WHERE id = %s", tablet) == []


def test_new_accounts_and_clients_join(old_database: str) -> None:
    adopt(old_database)
    user, first, second = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    insert = (
        "INSERT INTO public.users (id, email, password, salt) VALUES (%s, 'eve@example.com', repeat('a', 128), 's')"
    )
    write(old_database, insert, user)
    insert = "INSERT INTO public.user_clients (id, clientid, userid, lastsync) VALUES (%s, %s, %s, %s)"
    write(old_database, insert, 1001, first, user, 5)
    write(old_database, insert, 1002, second, BEA, None)
    report = adopt(old_database)
    assert (report.done.accounts, report.done.clients) == (2, 2)
    clients = read(
        old_database, "SELECT id, user_id, first_stamp FROM sync.clients WHERE id IN (%s, %s)", first, second
    )
    assert {(client["id"], str(client["user_id"]), client["first_stamp"]) for client in clients} == {
        (first, str(user), 0),  # it has synced: deletes are news to it
        (second, BEA, None),
    }


def test_a_client_that_another_account_has_here_is_reported(old_database: str) -> None:
    adopt(old_database)
    tablet = WRITTEN["cursors"]["bea2"]["clientId"]
    write(old_database, "UPDATE public.user_clients SET userid = %s WHERE clientid = %s", CARL, tablet)
    assert adopt(old_database).not_taken_over["client_of_another_user"] == 1
    (client,) = read(old_database, "SELECT user_id FROM sync.clients WHERE id = %s", tablet)
    assert str(client["user_id"]) == BEA


def test_what_belongs_to_nobody_is_counted(old_database: str) -> None:
    nobody = uuid.uuid4()
    write(
        old_database,
        "UPDATE public.user_clients SET userid = %s WHERE clientid = %s",
        nobody,
        WRITTEN["cursors"]["dora"]["clientId"],
    )
    write(old_database, "UPDATE public.sync_data SET userid = %s WHERE id <= 3", nobody)
    write(old_database, "INSERT INTO public.data VALUES (%s, '{}')", nobody)
    report = adopt(old_database)
    assert (report.lines_without_user, report.clients_without_user, report.contents_without_line) == (3, 1, 1)


def test_who_is_forgotten_here_is_not_noted_again_nor_taken_over(old_database: str) -> None:
    columns = "email_key, password_digest, taken_email_key, taken_password_digest"
    noted = f"SELECT {columns} FROM sync.adopted_users WHERE user_id = %s"
    adopt(old_database)
    (before,) = read(old_database, noted, BEA)
    assert all(before.values())
    write(old_database, "INSERT INTO sync.adoption_findings (user_id, kind) VALUES (%s, 'x')", BEA)
    run(old_database, lambda realm: realm.transact(lambda tx: management.delete(tx, uuid.UUID(BEA))))
    set_old_password(old_database, BEA, "another")
    for _ in range(2):
        assert adopt(old_database).done.accounts == 0
        assert read(old_database, noted, BEA) == [dict(zip(before, ("", "", None, None), strict=True))]
    assert read(old_database, "SELECT 1 FROM sync.users WHERE id = %s", BEA) == []
    assert read(old_database, "SELECT 1 FROM sync.adoption_findings WHERE user_id = %s", BEA) == []
