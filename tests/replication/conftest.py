"""A primary with a synchronous standby, and servers that know both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.machines import Pair

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()
