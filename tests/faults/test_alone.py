"""Every injection by itself: what it breaks must not hide in a mixture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from faults.disks import NoDisk, small_disk
from faults.injections import ALL
from faults.plan import alone, available
from faults.runs import RETRIES, Result, run_alone
from faults.world import World

pytestmark = pytest.mark.timeout(240)


def all_of_layer(world: World, layer: str, seed: int) -> Result:
    return run_alone(world, alone([each for each in available(world) if each.layer == layer], seed), seed)


def met(events: Counter[str]) -> int:
    return sum(events[name] for name in RETRIES)


def test_nothing_is_lost_on_the_network(world: World, seed: int) -> None:
    result = all_of_layer(world, "network", seed)
    assert result.tally.lost > 50
    assert result.tally.failed > 0


def test_nothing_is_lost_with_the_server(world: World, seed: int) -> None:
    assert all_of_layer(world, "server", seed).tally.lost > 10


def test_nothing_is_lost_with_postgresql(world: World, seed: int) -> None:
    assert met(all_of_layer(world, "database", seed).events) > 5


def test_nothing_is_lost_on_the_way_to_postgresql(world: World, seed: int) -> None:
    assert met(all_of_layer(world, "link", seed).events) > 10


def test_nothing_is_lost_without_connections(world: World, seed: int) -> None:
    assert met(all_of_layer(world, "pool", seed).events) > 2


def test_no_mail_is_lost(world: World, seed: int) -> None:
    assert all_of_layer(world, "mail", seed).mails != set()


def test_nothing_is_lost_when_the_clock_steps(world: World, seed: int) -> None:
    if reason := world.lacks("clock"):
        pytest.skip(reason)
    all_of_layer(world, "clock", seed)


def test_nothing_is_lost_when_the_disk_is_full(tmp_path: Path, seed: int) -> None:
    try:
        with small_disk(tmp_path / "disk") as disk, World(tmp_path, disk) as world:
            plan = alone([each for each in ALL if each.needs == "disk"], seed)
            assert met(run_alone(world, plan, seed).events) > 2
    except NoDisk as exc:
        pytest.skip(str(exc))
