"""G1-G6 over random histories: whatever happens to the devices, they end up equal, and equal to the model.

Each test plays games (tests/game.py) over HTTP against the real server, with the model in step after every call
(tests/twin.py says why that is sound although the clocks differ). Three ways to play:
- a hypothesis state machine, which finds the shortest story of a failure;
- random histories by seed; a failure says the seed and tells the story;
- devices that sync at the same time, in threads, where no model can follow; there only the end is compared.

The default is the same games in every run, within a minute. `SYNC_TEST_GAMES=2000` plays that many of each kind, and
`SYNC_TEST_SEED=7` begins at another seed; then hypothesis plays other games each time, too.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from game import FAULTS, KEYS, PARTS, SKEWS, Game, Plan
from histories import live_at_once, play
from users import NewUser

GAMES = int(os.environ.get("SYNC_TEST_GAMES", "16"))
FIRST_SEED = int(os.environ.get("SYNC_TEST_SEED", "0"))
SAME_EVERY_TIME = not {"SYNC_TEST_GAMES", "SYNC_TEST_SEED"} & os.environ.keys()

pytestmark = pytest.mark.timeout(420 + 5 * GAMES)  # hypothesis takes up to five minutes to shorten a story

players = st.integers(0, 5)
keys = st.sampled_from(KEYS)
exchanges = st.integers(0, 5)
faults = st.dictionaries(exchanges, st.sampled_from(sorted(FAULTS)), max_size=3)
plans = st.builds(
    Plan,
    faults=faults,
    token_faults=faults,
    others=st.dictionaries(exchanges, players, max_size=2),
    operator=st.dictionaries(exchanges, st.integers(0, 20), max_size=1),
    crash_step=st.one_of(st.none(), st.none(), st.integers(0, 8)),
    database_crash=st.one_of(st.none(), st.none(), exchanges),
)


class Machine(RuleBasedStateMachine):
    """A game whose moves hypothesis chooses."""

    new_user: NewUser
    game: Game

    @initialize(skews=st.lists(st.sampled_from(SKEWS), min_size=2, max_size=3))
    def begin(self, skews: list[int]) -> None:
        self.game = Game([self.new_user(), self.new_user()], skews)

    @rule(number=players, key=keys)
    def write(self, number: int, key: tuple[str, str]) -> None:
        self.game.write(number, key)

    @rule(number=players, key=keys)
    def delete(self, number: int, key: tuple[str, str]) -> None:
        self.game.delete(number, key)

    @rule(number=players, plan=plans)
    def sync(self, number: int, plan: Plan) -> None:
        self.game.sync(number, plan)

    @rule(number=players, which=st.integers(0, 20))
    def straggle(self, number: int, which: int) -> None:
        self.game.straggle(number, which)

    @rule(number=players)
    def back_up(self, number: int) -> None:
        self.game.back_up(number)

    @rule(number=players)
    def restore(self, number: int) -> None:
        self.game.restore(number)

    @rule(number=players, with_cursor=st.booleans())
    def come_back(self, number: int, *, with_cursor: bool) -> None:
        self.game.come_back(number, with_cursor=with_cursor)

    @rule(number=players)
    def two_minutes_pass(self, number: int) -> None:
        self.game.two_minutes_pass(number)

    @rule(number=players)
    def database_crashes(self, number: int) -> None:
        self.game.database_crashes(number)

    @rule(number=players, milliseconds=st.sampled_from([1, 50, 3_600_000]))
    def server_clock_leaps(self, number: int, milliseconds: int) -> None:
        self.game.server_clock_leaps(number, milliseconds)

    @rule(number=players, which=st.integers(0, 20))
    def bring_back(self, number: int, which: int) -> None:
        self.game.bring_back(number, which)

    @rule(number=players, age=st.sampled_from([0, 10, 1000]))
    def prune(self, number: int, age: int) -> None:
        self.game.prune(number, age)

    def teardown(self) -> None:
        self.game.come_to_rest()


def test_devices_converge_whatever_hypothesis_does_to_them(new_user: NewUser) -> None:
    run_state_machine_as_test(
        type("Machine", (Machine,), {"new_user": staticmethod(new_user)}),
        settings=settings(
            max_examples=GAMES if not SAME_EVERY_TIME else GAMES // 2,
            stateful_step_count=30,
            deadline=None,
            derandomize=SAME_EVERY_TIME,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        ),
    )


def test_devices_converge_in_random_histories(new_user: NewUser) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + GAMES):
        play(seed, [new_user(), new_user()])


def test_devices_converge_that_sync_at_the_same_time(new_user: NewUser) -> None:
    """Requests of several devices are in the server at once; its locks are what keeps stamps and rows in order."""
    user = new_user()
    devices = [user.device(part=PARTS) for _ in range(5)]
    for seed in range(FIRST_SEED, FIRST_SEED + max(3, GAMES // 8)):
        live_at_once(user, devices, seed)
    fresh = user.device()
    fresh.sync()
    assert fresh.state.rows == devices[0].state.rows
