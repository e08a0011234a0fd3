"""Guids of two users, whose one content the old server gives to whoever pushed last: nobody gets what is not theirs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from adoption import old_tables
from adoption.conftest import adopt
from adoption.old_server import LINE
from postgres import realm_at
from sync_server import adoption
from users import look_into


class Old:
    """What the old server writes for users with one client each, at the times that the test says."""

    def __init__(self, url: str, connection: psycopg.Connection[Any]) -> None:
        self.url = url
        self.connection = connection

    def user(self, number: int) -> uuid.UUID:
        """A user; lower numbers are taken over first. The id is the client's, too."""
        user_id = uuid.UUID(int=number)
        insert = "INSERT INTO public.users (id, email, password, salt) VALUES (%s, %s, repeat('a', 128), 's')"
        self.connection.execute(insert, [user_id, f"{number}@example.com"])
        client = "INSERT INTO public.user_clients (clientid, userid, lastsync) VALUES (%s, %s, 1)"
        self.connection.execute(client, [user_id, user_id])
        return user_id

    def push(self, user_id: uuid.UUID, guid: str, operation: str, date: int, content: object = None) -> None:
        if content is not None:
            keep = "INSERT INTO public.data VALUES (%s, %s) ON CONFLICT (rowguid) DO UPDATE SET json = excluded.json"
            self.connection.execute(keep, [guid, Jsonb(content)])
        self.connection.execute(LINE, [user_id, user_id, "notes", guid, operation, date, date])

    def leave(self, user_id: uuid.UUID) -> None:
        """Unregister with all data, in the old server's way: what others have under the same guid goes, too."""
        mine = "SELECT rowguid FROM public.sync_data WHERE userid = %s"
        self.connection.execute(f"DELETE FROM public.data WHERE rowguid IN ({mine})".encode(), [user_id])
        for table, column in (("sync_data", "userid"), ("user_clients", "userid"), ("users", "id")):
            self.connection.execute(f"DELETE FROM public.{table} WHERE {column} = %s".encode(), [user_id])


@pytest.fixture
def old(new_database: Callable[[], str]) -> Iterator[Old]:
    url = new_database()
    old_tables.make(url)
    with psycopg.connect(url, autocommit=True) as connection:
        yield Old(url, connection)


def rows(old: Old, user_id: uuid.UUID) -> dict[str, tuple[str, str | None]]:
    """Operation and content by guid."""
    with look_into(old.url) as connection:
        query = "SELECT rowguid, operation, row_data FROM sync.rows WHERE space_id = %s"
        found = connection.execute(query, [user_id]).fetchall()
    return {row["rowguid"]: (row["operation"], row["row_data"]) for row in found}


class Meanwhile:
    """Does something when a run has chosen what to take over, and has not yet done it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.begin = lambda _: work()

    def advance(self, lines: int) -> None:
        pass


def test_a_content_that_becomes_somebody_elses_during_the_run_is_not_taken(old: Old) -> None:
    ann, bea = old.user(1), old.user(2)
    guid = str(uuid.uuid4())
    old.push(ann, guid, "I", 1000, {"text": "Ann's"})
    settings = realm_at(old.url)
    meanwhile = Meanwhile(lambda: old.push(bea, guid, "I", 2000, {"text": "Bea's secret"}))
    report = adoption.adopt("main", settings, old.url, meanwhile)
    assert rows(old, ann) == {}
    assert report.not_taken_over == {"content_of_another_user": 1}
    assert rows(old, bea) == {guid: ("I", '{"text": "Bea\'s secret"}')}


def test_a_delete_is_taken_though_the_content_became_somebody_elses(old: Old) -> None:
    ann, bea = old.user(1), old.user(2)
    guid = str(uuid.uuid4())
    old.push(ann, guid, "I", 1000, {"text": "Ann's"})
    adopt(old.url)
    old.push(bea, guid, "I", 2000, {"text": "Bea's"})
    adopt(old.url)
    assert rows(old, ann) == {guid: ("I", '{"text": "Ann\'s"}')}
    old.push(ann, guid, "D", 3000)
    adopt(old.url)
    assert rows(old, ann) == {guid: ("D", None)}


def test_a_row_that_stays_shares_its_place_with_no_other(old: Old) -> None:
    """Pulls go from place to place."""
    ann, bea = old.user(1), old.user(2)
    guid = str(uuid.uuid4())
    old.push(ann, guid, "I", 1000, {"text": "Ann's"})
    adopt(old.url)
    old.push(bea, guid, "I", 2000, {"text": "Bea's"})
    old.push(ann, str(uuid.uuid4()), "I", 1000, {"text": "in the same millisecond"})
    adopt(old.url)
    with look_into(old.url) as connection:
        found = connection.execute("SELECT stamp, ordinal FROM sync.rows WHERE space_id = %s", [ann]).fetchall()
    assert sorted((row["stamp"], row["ordinal"]) for row in found) == [(1000, 1), (1000, 2)]


@pytest.mark.parametrize("syncs_here", [False, True])
def test_a_row_stays_when_the_old_server_has_lost_its_content_since(old: Old, syncs_here: bool) -> None:
    ann, bea = old.user(1), old.user(2)
    key, other = str(uuid.uuid4()).upper(), str(uuid.uuid4())
    old.push(bea, key, "I", 1000, {"text": "Bea's"})
    old.push(ann, key, "I", 2000, {"guid": key})
    adopt(old.url)
    if syncs_here:
        old.connection.execute("UPDATE sync.clients SET sync_number = 1")
    old.leave(bea)
    old.push(ann, other, "I", 3000, {"text": "news"})
    adopt(old.url)
    kept = {key: ("I", f'{{"guid": "{key}"}}'), other: ("I", '{"text": "news"}')}
    assert rows(old, ann) == kept
    old.push(ann, key, "D", 4000)
    adopt(old.url)
    assert rows(old, ann) == {**kept, key: ("D", None)}


def test_an_account_that_the_old_server_has_removed_since_stays(old: Old) -> None:
    ann = old.user(1)
    live, gone = str(uuid.uuid4()), str(uuid.uuid4())
    old.push(ann, live, "I", 1000, {"text": "Ann's"})
    old.push(ann, gone, "I", 1000, {"text": "Ann's"})
    old.push(ann, gone, "D", 2000)
    adopt(old.url)
    old.leave(ann)
    report = adopt(old.url)
    assert (report.done.accounts, report.adopted_accounts) == (0, 1)
    assert rows(old, ann) == {live: ("I", '{"text": "Ann\'s"}'), gone: ("D", None)}
