"""Whether the server is there and can do its work: what balancers, containers and people ask."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import httpx
import pytest

from observing.conftest import TOKEN, Watched
from postgres import realm_at
from routes.calls import Http
from sync_server import health, pools
from sync_server.config import Config, Database
from sync_server.health import Checks
from sync_server.realms import Realms

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_all_is_well(http: Http, method: str, path: str) -> None:
    answer = http.client.request(method, path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert bool(answer.content) == (method == "GET")


def test_realms_that_cannot_be_served_are_counted_and_do_not_take_the_others_away(watched: Watched) -> None:
    answer = httpx.get(watched.process.url + "/health/ready")
    assert answer.status_code == 200
    told = answer.json()
    assert told["status"] == "degraded"
    assert told["realms"]["closed"] == 1
    assert told["realms"]["up"] + told["realms"]["resting"] == 2


def test_names_of_realms_are_for_those_who_bring_the_token(watched: Watched) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
    ):
        answer = httpx.get(watched.process.url + "/health", headers=headers)
        assert answer.json().keys() == {"status", "realms"}
        assert "down" not in answer.json()["realms"] or isinstance(answer.json()["realms"]["down"], int)
        assert "watched" not in answer.text
    for url in (watched.process.url, watched.metrics_url):
        told = httpx.get(url + "/health", headers=AUTHORIZED).json()
        assert told["of_realm"]["down"] == {"status": "closed"}
        assert told["of_realm"]["watched"]["status"] in {"up", "resting"}
        assert told["version"]


def test_a_realm_called_like_a_path_is_a_realm(watched: Watched) -> None:
    assert httpx.post(watched.process.url + "/pull/metrics", json={}).status_code == 403
    assert httpx.get(watched.process.url + "/health/live").json() == {"status": "up"}


def test_no_page_of_another_origin_may_read_it(watched: Watched) -> None:
    for path in ("/health", "/metrics"):
        answer = httpx.get(watched.process.url + path, headers={**AUTHORIZED, "Origin": "https://evil.example"})
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


# In this process: what databases do.


def realms_on(**urls: str) -> Realms:
    config = Config(Database(realms={name: realm_at(url) for name, url in urls.items()}))
    return Realms(config, urls)


def run(work: Callable[[Realms, Checks], Coroutine[Any, Any, None]], **urls: str) -> None:
    """Do `work`. Whatever it leaves under way does not hold up the end, as it would that of a server."""

    async def whole() -> float:
        realms = realms_on(**urls)
        try:
            await work(realms, Checks(realms))
        finally:
            await realms.close()
        return time.monotonic()

    ended = asyncio.run(whole())
    assert time.monotonic() - ended < pools.IDLE / 2, "a pool was left open, with tasks that wait for idle connections"


def test_a_database_is_asked_and_what_it_said_counts_for_a_while(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_FRESH", 60.0)

    async def work(realms: Realms, checks: Checks) -> None:
        counts = realms.get("main").counts
        for _ in range(20):
            assert (await checks.health()).of_realm["main"].status == "up"
        assert counts["calls"] == 1

    run(work, main=database_url)


def test_a_database_that_nobody_uses_is_left_alone_for_a_minute(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_FRESH", 0.05)

    async def work(realms: Realms, checks: Checks) -> None:
        realm = realms.get("main")
        for _ in range(4):
            await checks.health()
            await asyncio.sleep(0.06)
        assert realm.counts["calls"] == 1
        await realm.read(lambda tx: tx.value("answers", {}))
        await checks.health()
        assert realm.counts["calls"] == 3  # somebody does use it
        monkeypatch.setattr(health, "_AT_REST", 0.1)
        await asyncio.sleep(0.11)
        await checks.health()
        assert realm.counts["calls"] == 4

    run(work, main=database_url)


def test_of_many_at_rest_a_few_are_woken_at_a_time(database_url: str) -> None:
    urls = {f"r{number}": f"{database_url}&application_name=r{number}" for number in range(10)}

    async def work(realms: Realms, checks: Checks) -> None:
        found = await checks.health()
        assert (found.status, found.realms["up"], found.realms["resting"]) == ("up", 4, 6)
        assert sum(pool.open for pool in realms.pools) == 4

    run(work, **urls)


def test_one_that_hangs_is_not_waited_for_and_one_that_is_gone_is_down(database_url: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        hanging = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/db"

        async def work(_: Realms, checks: Checks) -> None:
            begun = time.monotonic()
            found = await checks.health()
            assert time.monotonic() - begun < 4.5, "as long as a call may wait for a database"
            states = {name: realm.status for name, realm in found.of_realm.items()}
            assert states == {"main": "up", "hanging": "down", "gone": "down"}
            assert found.status == "degraded"
            again = time.monotonic()
            assert (await checks.health()).realms["down"] == 2
            assert time.monotonic() - again < 4.5

        run(work, main=database_url, hanging=hanging, gone="postgresql://127.0.0.1:1/db")


def test_without_any_database_the_server_is_not_ready() -> None:
    async def work(_: Realms, checks: Checks) -> None:
        assert (await checks.health()).status == "down"

    run(work, gone="postgresql://127.0.0.1:1/db")
