"""Failover: nothing that a device was told is stored is lost with the primary, as its standby had it first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from device import Device, Refused
from instances.fleet import Fleet
from instances.storm import Storm
from replication.machines import Pair, wait_for
from users import User, look_into
from wire import Answer, Request, encode

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")


def test_a_standby_takes_over_in_the_middle_of_a_storm(pair: Pair, served: Fleet) -> None:
    with look_into(pair.standby.url("main")) as after:
        storm = Storm([User(served.wire.send, "main", after) for _ in range(3)])
        processes = [server.process.pid for server in served.servers]
        with storm.raging():
            storm.until_synced(5)
            pair.fail_over(pause=1.0)
            storm.until_synced(5)
        storm.check()
        assert [server.process.pid for server in served.servers] == processes
        assert all(server.process.poll() is None for server in served.servers)
        assert all('"database_error"' in server.log for server in served.servers), "nobody noticed"


def push(device: Device) -> Answer:
    """The last call of a sync, once; the device has pulled."""
    device.fetch_token()
    return push_with_token(device)


def push_with_token(device: Device) -> Answer:
    body = encode(device.body(device.pending(), 0, None))
    return device.send(Request(f"/push/main/{device.client_id}", body, f"Bearer {device.state.access}"))


def pull_with_token(device: Device) -> Answer:
    body = encode(device.body([], 0, None))
    return device.send(Request(f"/pull/main/{device.client_id}", body, f"Bearer {device.state.access}"))


@pytest.mark.long
def test_while_there_is_no_standby_nothing_is_acknowledged(pair: Pair, served: Fleet) -> None:
    """A commit that is given up while it waits for the standby is there, on the primary alone. The device asks again, and is
    told that it is stored when the standby has it (G1, G5).
    """
    with look_into(pair.primary.url("main")) as before:
        user = User(served.wire.send, "main", before)
        phone, tablet = user.device(), user.device()
        phone.insert("todos", "1", {"title": "precious"})
        phone.pull()
        tablet.sync()  # so that all that its next pull changes need not outlast a crash
        pair.standby.kill()
        begun = time.monotonic()
        answers = [push(phone)]
        assert answers[0].status == 503
        assert time.monotonic() - begun < 30
        wait_for(lambda: user.rows().keys() == {("todos", "1")})  # committed, though not replicated
        answers = [push(phone), push(phone)]
        assert [answer.status for answer in answers] == [503, 503]
        with pytest.raises(Refused) as refused:
            tablet.pull()  # would show what may be lost
        assert refused.value.status == 503
        pair.standby.start()
        pair.until_replicated()
        wait_for(lambda: push(phone).status == 200)
        assert len(user.history()) == 1
    pair.fail_over()
    with look_into(pair.standby.url("main")) as after:
        assert [row["row_data"] for row in User(served.wire.send, "main", after, email=user.email).rows().values()] == [
            '{"rowguid":"1","title":"precious"}'
        ]
    tablet.sync()
    assert tablet.state.rows == {("todos", "1"): {"title": "precious"}}


@pytest.mark.long
def test_what_a_crashed_primary_has_alone_is_not_acknowledged(pair: Pair, served: Fleet) -> None:
    """It comes back with what the standby lacks, and without the syncs: the push is known by its digest alone (G1)."""
    with look_into(pair.primary.url("main")) as before:
        user = User(served.wire.send, "main", before)
        phone = user.device()
        phone.insert("todos", "1", {"title": "precious"})
        phone.pull()
        phone.fetch_token()
        pair.standby.kill()
        assert push_with_token(phone).status == 503
        wait_for(lambda: user.rows().keys() == {("todos", "1")})
    pair.primary.kill()
    pair.primary.start()
    with look_into(pair.primary.url("main")) as again:
        user.connection = again
        wait_for(lambda: again.execute("SHOW synchronous_standby_names").fetchall()[0].popitem()[1] == "*")
        assert user.rows().keys() == {("todos", "1")}
        assert [push_with_token(phone).status for _ in range(3)] == [503] * 3
        pair.standby.start()
        pair.until_replicated()
        wait_for(lambda: push_with_token(phone).status == 200)
        assert len(user.history()) == 1


def test_a_commit_that_an_administrator_cancels_is_not_acknowledged(pair: Pair, served: Fleet) -> None:
    """PostgreSQL says COMMIT to it, and by a warning that the standby does not have it."""
    cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with look_into(pair.primary.url("main")) as before:
        user = User(served.wire.send, "main", before)
        phone, tablet = user.device(), user.device()
        tablet.sync()
        tablet.fetch_token()
        phone.insert("todos", "1", {"title": "precious"})
        phone.pull()
        phone.fetch_token()
        pair.standby.kill()
        with ThreadPoolExecutor(1) as pool:
            pushing = pool.submit(push_with_token, phone)
            wait_for(lambda: pair.primary.ask(cancel))
            wait_for(lambda: user.rows().keys() == {("todos", "1")})
            assert pushing.result(60).status == 503
            pulling = pool.submit(pull_with_token, tablet)
            wait_for(lambda: pair.primary.ask(cancel))
            assert pulling.result(60).status == 503, "would show what may be lost"
        pair.standby.start()
        pair.until_replicated()
        wait_for(lambda: push(phone).status == 200)
        assert len(user.history()) == 1


@pytest.mark.long
def test_a_server_that_takes_no_changes_any_more_is_left(pair: Pair, served: Fleet) -> None:
    """As with a primary that became a standby under connections which a pooler kept."""
    with look_into(pair.primary.url("main")) as before:
        user = User(served.wire.send, "main", before)
        phone = user.device()
        phone.sync()
        for setting in ("default_transaction_read_only = on", "synchronous_standby_names = ''"):
            pair.primary.ask(f"ALTER SYSTEM SET {setting}", "SELECT pg_reload_conf()")
        show = "SHOW transaction_read_only"
        wait_for(lambda: before.execute(show).fetchall() == [{"transaction_read_only": "on"}])
        time.sleep(0.5)  # every process reads it for itself
        pair.standby.promote()
        phone.insert("todos", "1", {"title": "x"})
        assert (
            phone.tries_to_sync() or phone.tries_to_sync()
        )  # a server that has not noticed yet knows nothing of the pull
        assert pair.primary.ask("SELECT count(*) FROM sync.rows", database="main") == [(0,)]
    with look_into(pair.standby.url("main")) as after:
        assert User(served.wire.send, "main", after, email=user.email).rows().keys() == {("todos", "1")}
