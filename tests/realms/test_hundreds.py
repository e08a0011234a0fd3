"""300 realms on one PostgreSQL with max_connections 100."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from postgres import Postgres, superuser
from realms.conftest import connections_to
from realms.test_budget import most_connections
from server.calls import register
from server.operating import Operator, Running, config_with, wait_for
from sync_server import pools

REALMS = 300
DATABASES = 90
"""Of their own; the other realms have schemas in a few databases."""
BUDGET = 12


@pytest.fixture
def realms(own_postgres_only: Postgres, new_database: Callable[[], str]) -> dict[str, Any]:
    """The configuration of 300 realms."""
    template = new_database()
    name = template.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(superuser(own_postgres_only.create_database("realms_0")), autocommit=True) as connection:
        assert connection.execute("SHOW max_connections").fetchall() == [("100",)]
        for number in range(DATABASES):
            connection.execute(f'CREATE DATABASE many_{number} TEMPLATE "{name}" OWNER sync_server'.encode())
    urls = [template.replace(name, f"many_{number}") for number in range(DATABASES)]
    shared: list[dict[str, str]] = [
        {"url": urls[number % 5], "schema": f"realm{number}"} for number in range(REALMS - DATABASES)
    ]
    return {f"realm{number}": value for number, value in enumerate([*urls, *shared])}


def registers(running: Running, realm: str, number: int) -> bool:
    """As an honest device, which tries again when a busy machine kept it waiting for too long."""
    statuses: list[int] = []
    while len(statuses) < 3 and 200 not in statuses:
        statuses.append(register(running.url, realm, number).status_code)
        assert statuses[-1] in {200, 503}
    return 200 in statuses


@pytest.mark.long
@pytest.mark.timeout(300)  # a minute on a machine that has nothing else to do
def test_300_realms_are_served_within_the_budget_and_hold_nothing_when_idle(
    operator: Operator, postgres: Postgres, realms: dict[str, Any]
) -> None:
    config = config_with(realms) | {"db": {"realms": realms, "max_connections": BUDGET}}
    database = postgres.create_database("realms_0")
    with most_connections(database, "many_%") as most:
        running = operator.serve(config, "--workers", "2", environment={"RATE_LIMIT_DISABLE": "1"})
        with ThreadPoolExecutor(8) as phones:
            assert all(phones.map(lambda name: registers(running, name, 1), realms))
            assert all(phones.map(lambda name: registers(running, name, 2), list(realms)[::5]))
        demand = {"email": "ann1@example.com"}
        assert httpx.post(f"{running.url}/password/realm77/forgotten", json=demand).status_code == 200
        wait_for(lambda: list((operator.directory / "data" / "outbox").glob("*.eml")), 10)
    assert 1 < most[0] <= BUDGET
    # the server's first look into the mail queues takes its time
    wait_for(lambda: connections_to(database, "many_%") == 0, 0.1 * REALMS + pools.IDLE + 25)
    assert running.end() == 0
    assert running.faults() == []
