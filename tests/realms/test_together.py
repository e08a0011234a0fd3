"""Questions that come at the same moment are asked in one statement, and each gets its own answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec
import psycopg
import pytest

from proxies import FREEZE, PASS, Proxy
from realms.conftest import serving
from sync_server.accounts import standing
from sync_server.accounts.tokens import Device, new_id
from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.realms import Realm
from sync_server.together import Together

DEVICES = """
WITH space AS (INSERT INTO sync.spaces (id) VALUES (gen_random_uuid()) RETURNING id),
account AS (
    INSERT INTO sync.users (id, email, email_key, password_hash, space_id, name, language)
    SELECT gen_random_uuid(), 'ann@example.com', 'ann@example.com', '', id, '', '' FROM space
    RETURNING id, token_epoch
)
INSERT INTO sync.clients (id, user_id, refresh_id)
SELECT gen_random_uuid(), account.id, 'refresh' || n FROM account CROSS JOIN generate_series(1, %s) n
RETURNING user_id, id AS client_id, (SELECT token_epoch FROM account) AS epoch, session
"""
NUMBERS = """
INSERT INTO sync.syncs (client_id, first_number, sync_number)
SELECT id, 0, substr(refresh_id, 8)::bigint FROM sync.clients
"""


def devices(url: str, number: int) -> list[Device]:
    """Of one user, each with a number of syncs of its own."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(DEVICES, [number]).fetchall()
        connection.execute(NUMBERS)
    return [
        Device("a", user_id, client_id, epoch, session, number, new_id())
        for number, (user_id, client_id, epoch, session) in enumerate(rows, start=1)
    ]


def run(url: str, work: Callable[[Realm], object], **options: float) -> object:
    async def with_realm() -> object:
        async with serving({"a": url}, **options) as realms:  # type: ignore[arg-type]
            return await work(realms.get("a"))  # type: ignore[misc]

    return asyncio.run(asyncio.wait_for(with_realm(), 60))


def test_each_gets_the_answer_to_its_own_question(new_database: Callable[[], str]) -> None:
    url = new_database()
    known = devices(url, 30)
    revoked = [msgspec.structs.replace(device, session=7) for device in known[:3]]
    asked = [known[3], revoked[0], *known[4:], revoked[1], known[3], revoked[2]]

    async def ask(realm: Realm) -> None:
        found = await asyncio.gather(*(standing.of_device(realm, device) for device in asked))
        assert [stands and stands.sync_number for stands in found] == [
            None if device in revoked else device.sync_number for device in asked
        ]
        assert [stands and stands.refresh_id for stands in found] == [
            None if device in revoked else f"refresh{device.sync_number}" for device in asked
        ]
        assert realm.counts["calls"] == 1

    run(url, ask)


def test_more_than_fit_are_asked_in_turn(new_database: Callable[[], str]) -> None:
    async def ask(realm: Realm) -> None:
        assert await asyncio.gather(*(realm.read_together(doubled, n) for n in range(250))) == [
            2 * n for n in range(250)
        ]
        assert realm.counts["calls"] == 3
        assert await realm.read_together(doubled, 4) == 8

    run(new_database(), ask)


async def doubled(tx: Tx, numbers: Sequence[int]) -> Sequence[int]:
    await tx.value("database_time", {})
    return [2 * number for number in numbers]


def test_a_database_that_does_not_answer_holds_nobody_longer_than_another_call(behind: str, proxy: Proxy) -> None:
    async def ask(realm: Realm) -> None:
        assert await realm.read_together(doubled, 1) == 2
        proxy.mode = FREEZE
        begun = time.monotonic()
        first = asyncio.create_task(realm.read_together(doubled, 2))
        await asyncio.sleep(0.01)
        ended = await asyncio.gather(
            first, *(realm.read_together(doubled, n) for n in range(5)), return_exceptions=True
        )
        assert {type(end) for end in ended} == {Unavailable}
        assert time.monotonic() - begun < 20
        proxy.mode = PASS

    run(behind, ask)


@pytest.mark.anyio
class TestTogether:
    """Without a database: who waits for whom."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_what_comes_meanwhile_is_asked_next_and_at_once(self) -> None:
        batches: list[Sequence[int]] = []
        go = asyncio.Event()

        async def ask(numbers: Sequence[int]) -> Sequence[int]:
            batches.append(numbers)
            await go.wait()
            return numbers

        together = Together(ask)
        first = asyncio.create_task(together.ask(1))
        await asyncio.sleep(0.001)
        others = [asyncio.create_task(together.ask(number)) for number in (2, 3, 4)]
        await asyncio.sleep(0.001)
        assert batches == [[1]]
        go.set()
        assert await asyncio.gather(first, *others) == [1, 2, 3, 4]
        assert batches == [[1], [2, 3, 4]]

    async def test_an_answer_that_does_not_come_holds_up_none_but_its_own(self) -> None:
        async def ask(numbers: Sequence[int]) -> Sequence[int]:
            if 1 in numbers:
                await asyncio.sleep(60)
            return numbers

        together = Together(ask)
        hung = asyncio.create_task(together.ask(1))
        await asyncio.sleep(0.001)
        async with asyncio.timeout(50):
            assert [*await asyncio.gather(together.ask(2), together.ask(3))] == [2, 3]
            assert await together.ask(4) == 4
        hung.cancel()

    async def test_nor_those_beyond_what_fits_beside_it(self) -> None:
        async def ask(numbers: Sequence[int]) -> Sequence[int]:
            if 0 in numbers:
                await asyncio.sleep(60)
            return numbers

        together = Together(ask)
        asked = [asyncio.create_task(together.ask(number)) for number in range(150)]
        async with asyncio.timeout(50):
            assert await asked[149] == 149
        for task in asked:
            task.cancel()

    async def test_who_goes_away_takes_no_answer_along(self) -> None:
        async def ask(numbers: Sequence[int]) -> Sequence[int]:
            await asyncio.sleep(0.005)
            return numbers

        together = Together(ask)
        gone, stays = asyncio.create_task(together.ask(1)), asyncio.create_task(together.ask(2))
        await asyncio.sleep(0.001)
        gone.cancel()
        assert await stays == 2

    async def test_a_failure_is_told_to_all_and_forgotten(self) -> None:
        failures = [Unavailable(retry_after=5)]

        async def ask(numbers: Sequence[int]) -> Sequence[int]:
            await asyncio.sleep(0)
            if failures:
                raise failures.pop()
            return numbers

        together = Together(ask)
        ended = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
        assert [type(end) for end in ended] == [Unavailable, Unavailable]
        assert await together.ask(3) == 3
