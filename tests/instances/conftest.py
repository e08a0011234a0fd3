"""Servers with clocks an hour apart, and users whose every call reaches another one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from instances.fleet import Fleet, fleet
from postgres import Postgres
from users import Connection, NewUser, User, look_into


@pytest.fixture(scope="session")
def instances_url(postgres: Postgres) -> str:
    """An empty database; whoever serves it first makes the tables."""
    return postgres.create_database("instances")


@pytest.fixture(scope="session")
def skewed(instances_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three servers, an hour ahead, right, and an hour behind. Without rate limits: tests are no honest devices."""
    directory = tmp_path_factory.mktemp("instances")
    with fleet(directory, instances_url, environment={"RATE_LIMIT_DISABLE": "1"}) as servers:
        yield servers


@pytest.fixture(scope="session")
def instances_connection(skewed: Fleet, instances_url: str) -> Iterator[Connection]:
    assert skewed.servers
    with look_into(instances_url) as connection:
        yield connection


@pytest.fixture
def new_user(skewed: Fleet, instances_connection: Connection) -> NewUser:
    return lambda: User(skewed.wire.send, "main", instances_connection)


@pytest.fixture
def user(new_user: NewUser) -> User:
    return new_user()
