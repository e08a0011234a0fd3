"""Databases with old tables, and servers on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adoption import old_tables
from conftest import Process, start_server
from postgres import Postgres, realm_at
from sync_server import adoption
from sync_server.adoption import Report
from sync_server.adoption.progress import Progress

NUMBERS = itertools.count(1)
"""For names: a module's fixtures may be made several times in one worker."""
Serve = Callable[[dict[str, object]], Process]


class Silent:
    def begin(self, lines: int) -> None:
        pass

    def advance(self, lines: int) -> None:
        pass


def adopt(url: str, progress: Progress | None = None, *, dry_run: bool = False, all_again: bool = False) -> Report:
    settings = realm_at(url)
    return adoption.adopt("main", settings, url, progress or Silent(), dry_run=dry_run, all_again=all_again)


@pytest.fixture
def new_database(postgres: Postgres) -> Callable[[], str]:
    return lambda: postgres.create_database(f"adoption_{next(NUMBERS)}")


@pytest.fixture
def old_database(new_database: Callable[[], str]) -> str:
    """The URL of a database as the old server left it."""
    url = new_database()
    old_tables.load(url)
    return url


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server with these realms."""
    running: list[Process] = []

    def start(realms: dict[str, object]) -> Process:
        config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": realms}}
        directory = tmp_path / f"server{next(NUMBERS)}"
        process = start_server(directory, config, environment={"RATE_LIMIT_DISABLE": "1"})
        running.append(process)
        return process

    yield start
    for process in running:
        if process.process.poll() is None:
            process.stop()
