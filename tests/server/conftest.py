"""What the tests of the commands have in common: an operator, and empty databases."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postgres import Postgres
from server.operating import Operator

_numbers = itertools.count(1)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(tmp_path)
    yield operator
    operator.leave()


@pytest.fixture
def new_database(postgres: Postgres) -> Callable[[], str]:
    """Make an empty database; its URL."""
    return lambda: postgres.create_database(f"operated_{next(_numbers)}")


@pytest.fixture
def empty_url(new_database: Callable[[], str]) -> str:
    return new_database()
