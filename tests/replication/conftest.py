"""A primary with a synchronous standby, and servers that know both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from instances.fleet import Fleet, configuration, fleet
from replication.machines import Pair

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


@pytest.fixture
def served(pair: Pair, tmp_path: Path) -> Iterator[Fleet]:
    """Two servers that know both machines, and give up waiting for a database after two seconds."""
    config = configuration(pair.url)
    config["db"] = {"realms": {"main": {"url": pair.url, "history": "full"}}, "timeout": 2}
    with fleet(tmp_path, pair.url, (0, 0), config, {"RATE_LIMIT_DISABLE": "1"}) as servers:
        yield servers
