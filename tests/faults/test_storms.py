"""Injections of all layers at the same time."""

from __future__ import annotations

import pytest

from faults.plan import available, storm
from faults.runs import run_storm
from faults.world import World

pytestmark = pytest.mark.timeout(240)


def test_nothing_is_lost_in_a_storm(world: World, seed: int) -> None:
    world.serve_with(2)
    run_storm(world, storm(available(world), seed, 12), seed)
