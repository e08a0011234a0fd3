"""Every injection by itself: what it breaks must not hide in a mixture."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.disks import NoDisk, small_disk
from faults.injections import ALL
from faults.plan import alone, available
from faults.runs import RETRIES, Result, run_alone
from faults.world import HANG_LIMIT, World

pytestmark = pytest.mark.timeout(240)


def all_of_layer(world: World, layer: str, seed: int) -> Result:
    return run_alone(world, alone([each for each in available(world) if each.layer == layer], seed), seed)


def met(result: Result) -> int:
    """How often the server has met a fault of its database: an injection that breaks nothing proves nothing."""
    return sum(result.events[name] for name in RETRIES)


@pytest.mark.long
def test_nothing_is_lost_on_the_network(world: World, seed: int) -> None:
    assert all_of_layer(world, "network", seed).tally.lost > 5


@pytest.mark.long
def test_nothing_is_lost_with_the_server(world: World, seed: int) -> None:
    assert all_of_layer(world, "server", seed).tally.lost > 2


def test_nothing_is_lost_with_postgresql(world: World, seed: int) -> None:
    assert met(all_of_layer(world, "database", seed))


@pytest.mark.long
def test_nothing_is_lost_on_the_way_to_postgresql(world: World, seed: int) -> None:
    short = [each for each in available(world) if each.layer == "link" and each.seconds < HANG_LIMIT]
    assert met(run_alone(world, alone(short, seed), seed))


@pytest.mark.long
def test_nobody_waits_for_a_database_that_hangs(world: World, seed: int) -> None:
    result = run_alone(world, alone([each for each in ALL if each.name == "database hangs"], seed), seed)
    assert result.tally.statuses[503]
    assert result.tally.longest_wait < HANG_LIMIT


@pytest.mark.long
def test_a_device_hardly_hears_of_lost_connections(world: World, seed: int) -> None:
    """The server tries again before it gives up, so that most calls succeed."""
    cuts = ["connections terminated", "database connections cut", "database answers cut in the middle"]
    result = run_alone(world, alone([each for each in ALL if each.name in cuts], seed), seed)
    assert result.events["database_error"]
    assert result.tally.statuses[503] <= result.events["database_error"] / 2


@pytest.mark.long
def test_nothing_is_lost_without_connections(world: World, seed: int) -> None:
    assert met(all_of_layer(world, "pool", seed))


@pytest.mark.long
def test_no_mail_is_lost(world: World, seed: int) -> None:
    assert all_of_layer(world, "mail", seed).mails != set()


@pytest.mark.long
def test_nothing_is_lost_when_the_clock_steps(world: World, seed: int) -> None:
    if reason := world.lacks("clock"):
        pytest.skip(reason)
    all_of_layer(world, "clock", seed)


def test_nothing_is_lost_when_the_disk_is_full(tmp_path: Path, seed: int) -> None:
    try:
        with small_disk(tmp_path / "disk") as disk, World(tmp_path, disk, bystander=False) as world:
            plan = alone([each for each in ALL if each.needs == "disk"], seed)
            assert met(run_alone(world, plan, seed))
    except NoDisk as exc:
        pytest.skip(str(exc))
