"""Pushes to one space in the same moment: what one has waited for is looked at anew, whatever it saw before (G2, G4)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from device import Device
from users import Connection, User, at, change, look_into
from wire import Server

WAITING = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def other(server: Server) -> Iterator[Connection]:
    """A connection of its own, for a transaction beside the server's."""
    with look_into(server.dsn(server.realm)) as connection:
        yield connection


@contextmanager
def locked_space(user: User, connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SELECT 1 FROM sync.spaces WHERE id = %s FOR UPDATE", [user.space_id])
        yield


def wait_for(connection: psycopg.Connection[dict[str, int]], waiting: int) -> None:
    deadline = time.monotonic() + 60
    while connection.execute(WAITING).fetchall()[0]["n"] != waiting:
        assert time.monotonic() < deadline, "nobody waits for the lock"
        time.sleep(0.01)


def push(device: Device, title: str) -> int | None:
    return device.push([change("I", "1", device.clock(), {"title": title})])


@pytest.mark.parametrize(("dates", "winner"), [((1, 2), "tablet"), ((2, 1), "phone")])
def test_of_pushes_that_waited_together_the_newest_wins_and_the_other_is_kept(
    user: User, other: Connection, dates: tuple[int, int], winner: str
) -> None:
    phone, tablet = user.device(clock=at(dates[0])), user.device(clock=at(dates[1]))
    phone.pull()
    tablet.pull()
    with ThreadPoolExecutor() as pool:
        with locked_space(user, other):
            first = pool.submit(push, phone, "phone")
            wait_for(user.connection, 1)
            second = pool.submit(push, tablet, "tablet")
            wait_for(user.connection, 2)
        first.result(60)
        second.result(60)
    [row] = user.rows().values()
    [loser] = user.overridden()
    assert row["row_data"] == f'{{"title":"{winner}"}}'
    assert {row["row_data"], loser["row_data"]} == {'{"title":"phone"}', '{"title":"tablet"}'}
    assert user.clock == max(line["stamp"] for line in user.history())
    stamps = [line["stamp"] for line in user.history()]
    assert sorted(set(stamps)) == stamps
    for device in (phone, tablet):
        device.sync()
        assert device.state.rows["todos", "1"]["title"] == winner


def test_a_push_looks_anew_where_tombstones_were_pruned_while_it_waited(user: User, other: Connection) -> None:
    """The tombstone that it saw first is gone, so its change meets no version any more."""
    phone, tablet = user.device(clock=at(5)), user.device(clock=at(9))
    phone.pull()
    tablet.pull()
    tablet.push([change("D", "1", 9)])
    with ThreadPoolExecutor() as pool:
        with locked_space(user, other):
            pushed = pool.submit(push, phone, "milk")
            wait_for(user.connection, 1)
            other.execute("UPDATE sync.spaces SET pruned = clock WHERE id = %s", [user.space_id])
            other.execute("DELETE FROM sync.rows WHERE space_id = %s", [user.space_id])
        pushed.result(60)
    assert [row["row_data"] for row in user.rows().values()] == ['{"title":"milk"}']
    assert not user.overridden()


def test_a_push_without_changes_does_not_wait_for_the_space(user: User, other: Connection) -> None:
    phone = user.device()
    phone.pull()
    with ThreadPoolExecutor() as pool, locked_space(user, other):
        assert pool.submit(phone.push, []).result(60) == 0


def test_a_first_pull_that_waited_for_another_one_leaves_its_stamp(user: User, other: Connection) -> None:
    """The device is to be sent the deletes of after the first of the two: it may have been given those rows."""
    phone, tablet = user.device(), user.device()
    tablet.insert("todos", "1", {"title": "milk"})
    tablet.sync()
    phone.fetch_token()
    with ThreadPoolExecutor() as pool:
        with other.transaction():
            other.execute("SELECT 1 FROM sync.syncs WHERE client_id = %s FOR UPDATE", [phone.client_id])
            pulled = pool.submit(phone.pull)
            wait_for(user.connection, 1)
            other.execute("UPDATE sync.clients SET first_stamp = 1, acknowledged = 0 WHERE id = %s", [phone.client_id])
        pulled.result(60)
    assert user.client(phone)["sync_started"] is not None
    assert user.client(phone)["first_stamp"] == 1
