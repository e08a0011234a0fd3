"""A world for the tests of a worker; faults that need one of their own make it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from faults.world import World


@pytest.fixture(scope="session")
def seed() -> int:
    """SEED in the environment replays a run."""
    return int(os.environ.get("SEED", "1"))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as world:
        yield world
