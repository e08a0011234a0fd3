"""However much people search in the admin API, devices go on syncing, and others may act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from admin.people import data, make, refused
from conftest import Process, start_server
from postgres import Postgres
from realms.conftest import look, new_database, serving
from sync_server.accounts.roles import Role
from sync_server.admin.errors import TooSlow
from sync_server.admin.share import Shares
from sync_server.database import Tx
from sync_server.errors import Unavailable
from users import Connection, User, change, look_into
from wire import Wire

__all__ = ["new_database"]
CONNECTIONS = 8
QUESTIONS = 40


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Process]:
    url = postgres.create_migrated("shared_out")
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"main": url}, "max_connections": CONNECTIONS}}
    process = start_server(tmp_path_factory.mktemp("shared_out"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    process.config["url"] = url
    yield process
    assert process.stop() == 0


def test_a_phone_syncs_and_an_admin_acts_beside_many_questions(process: Process) -> None:
    """One person's, that the database does not answer: they wait for a table that neither of the others needs."""
    with (
        look_into(process.config["url"]) as connection,
        httpx.Client(base_url=process.url, timeout=60, limits=httpx.Limits(max_connections=None)) as http,
        ThreadPoolExecutor(QUESTIONS) as pool,
    ):
        curious, owner = (make(http, connection, "main", role).signed_in() for role in (Role.VIEWER, Role.OWNER))
        wire = Wire(process.url)
        phone = User(wire.send, "main", connection).device()
        phone.pull([])
        phone.push([change("I", "1", 1, {"n": 1})])
        with connection.transaction():
            connection.execute("LOCK TABLE sync.kept_aside IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(curious.call, "GET", "/realms/main/kept-aside") for _ in range(QUESTIONS)]
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'sync.kept_aside'::regclass"
            begun = time.monotonic()
            while not connection.execute(waiting).fetchall() and time.monotonic() - begun < 30:
                time.sleep(0.01)
            time.sleep(0.3)  # whatever else they may have now, they have
            held = len(connection.execute(waiting).fetchall())
            phone.pull([])
            phone.push([change("I", "2", 2, {"n": 2})])
            path = f"/realms/main/users/{curious.id}"
            tag = owner.call("GET", path).headers["ETag"]
            locked = owner.call("PATCH", path, json={"active": False}, headers={"If-Match": tag})
            assert data(locked)["active"] is False
        wire.close()
        for each in asked:
            answer = each.result(60)
            if answer.status_code == 503:
                assert refused(answer, 503, "unavailable") == {}
                assert answer.headers["Retry-After"]
            else:
                data(answer)
    assert held == 1, "half of the share"


def asleep(seconds: float) -> Callable[[Tx], Awaitable[None]]:
    async def work(tx: Tx) -> None:
        await look(tx)
        await asyncio.sleep(seconds)

    return work


def test_a_question_that_takes_too_long_is_broken_off_and_a_change_is_not(new_database: Callable[[], str]) -> None:
    url = new_database()

    async def work(connection: Connection) -> None:
        async with serving({"main": url}, timeout=10.0) as realms:
            realm = Shares(8, longest=0.3).of(realms.get("main"), uuid4())
            with connection.transaction():
                connection.execute("LOCK TABLE sync.mails IN ACCESS EXCLUSIVE MODE")
                begun = time.monotonic()
                with pytest.raises(TooSlow):
                    await realm.read(look)
                assert time.monotonic() - begun < 10, "as long as a call of a device may take"
                waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'sync.mails'::regclass"
                assert not connection.execute(waiting).fetchall(), "in the database, too"
            await realm.transact(asleep(0.6))
            await realm.read(look)
            assert realms.get("main").counts["unanswered"] == 0, "no fault of the database"
            assert realm == realms.get("main"), "as what belongs to a realm is found by it"

    with look_into(url) as connection:
        asyncio.run(work(connection))


def test_nobody_waits_for_their_turn_without_end(new_database: Callable[[], str]) -> None:
    async def work() -> None:
        async with serving({"main": new_database()}, timeout=10.0) as realms:
            shares = Shares(8, patience=0.2)
            ann, bob, eve = (shares.of(realms.get("main"), uuid4()) for _ in range(3))
            busy = [asyncio.create_task(each.transact(asleep(1))) for each in (ann, ann, bob)]
            await asyncio.sleep(0.05)
            with pytest.raises(Unavailable) as refusal:
                await eve.read(look)
            assert refusal.value.retry_after
            results = await asyncio.gather(*busy, return_exceptions=True)
            assert [type(result) for result in results] == [type(None), Unavailable, type(None)]
            await asyncio.gather(*(each.read(look) for each in (ann, bob, eve)))

    asyncio.run(work())


@pytest.mark.parametrize(("connections", "size"), [(1, 1), (2, 1), (3, 2), (8, 2), (20, 5)])
def test_a_share_leaves_the_devices_most(connections: int, size: int) -> None:
    assert Shares(connections).size == size
