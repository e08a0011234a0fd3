"""The schedule of a long run: everything comes up, and about equally often, whatever the seed it begins with."""

from __future__ import annotations

from collections import Counter

import pytest

from faults.__main__ import SECONDS, has_small_disk, workers
from faults.injections import ALL, Injection
from faults.plan import storm

OFTEN = 3
"""How many times as often as the rarest injection the most frequent one may come up."""
ROUNDS = 6
"""Among so many rounds one after the other, every injection comes up."""


def possible(each: Injection, seed: int) -> bool:
    return {"disk": has_small_disk(seed), "workers": workers(seed) > 1}.get(each.needs, True)


def injected(seed: int) -> Counter[str]:
    return storm([each for each in ALL if possible(each, seed)], seed, SECONDS).counted


@pytest.mark.parametrize("first", [0, 100, 4711, 1_790_000_000])
def test_every_injection_comes_up_about_equally_often(first: int) -> None:
    rounds = [injected(seed) for seed in range(first, first + 60)]
    total = sum(rounds, Counter[str]())
    assert set(total) == {each.name for each in ALL}
    assert max(total.values()) <= OFTEN * min(total.values()), total
    for number in range(len(rounds) - ROUNDS + 1):
        seen = set().union(*rounds[number : number + ROUNDS])
        assert seen == set(total), f"not among the {ROUNDS} rounds from seed {first + number}: {set(total) - seen}"


def test_the_same_seed_is_the_same_plan() -> None:
    assert storm(ALL, 7, SECONDS) == storm(ALL, 7, SECONDS)
    assert storm(ALL, 7, SECONDS) != storm(ALL, 8, SECONDS)
