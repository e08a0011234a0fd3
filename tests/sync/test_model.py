"""The oracle of the other tests keeps the guarantees itself."""

from __future__ import annotations

import pytest

from model import play


@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_random_histories_of_the_model_converge(first: int) -> None:
    failures = [failure for seed in range(first, first + 250) if (failure := play(seed))]
    assert not failures


@pytest.mark.parametrize("first", range(0, 1000, 500))
def test_random_histories_with_a_server_that_is_put_back_to_a_backup_converge(first: int) -> None:
    failures = [failure for seed in range(first, first + 500) if (failure := play(seed, restores=True))]
    assert not failures
