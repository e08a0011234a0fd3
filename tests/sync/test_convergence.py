"""G1-G6 over random histories: whatever happens to the devices, they end up equal, and equal to the model.

Each test plays games (tests/game.py) over HTTP against the real server, with the model in step after every call
(tests/twin.py says why that is sound although the clocks differ). Three ways to play:
- a hypothesis state machine, which finds the shortest story of a failure;
- random histories by seed; a failure says the seed and tells the story;
- devices that sync at the same time, in threads, where no model can follow; there only the end is compared.

The default is the same games in every run, within about a minute. `SYNC_TEST_GAMES=2000` plays that many of each kind, and
`SYNC_TEST_SEED=7` begins at another seed; then hypothesis plays other games each time, too.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from device import Device
from game import FAULTS, KEYS, PARTS, SKEWS, Game, Plan
from users import NewUser, User
from wire import Answer, Request, Send, Transport, crash_after, direct, lose_answer, lose_request

GAMES = int(os.environ.get("SYNC_TEST_GAMES", "25"))
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
    crash_step=st.one_of(st.none(), st.none(), st.integers(0, 8)),
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

    @rule(number=players)
    def two_minutes_pass(self, number: int) -> None:
        self.game.two_minutes_pass(number)

    @rule(number=players, milliseconds=st.sampled_from([1, 50, 3_600_000]))
    def server_clock_leaps(self, number: int, milliseconds: int) -> None:
        self.game.server_clock_leaps(number, milliseconds)

    def teardown(self) -> None:
        self.game.come_to_rest()


def test_devices_converge_whatever_hypothesis_does_to_them(new_user: NewUser) -> None:
    run_state_machine_as_test(
        type("Machine", (Machine,), {"new_user": staticmethod(new_user)}),
        settings=settings(
            max_examples=GAMES,
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


def play(seed: int, users: list[User]) -> None:
    """One random history."""
    rng = random.Random(seed)
    game = Game(users, rng.choices(SKEWS, k=2 + seed % 2))
    try:
        for _ in range(20 + seed % 40):
            move(game, rng)
        game.come_to_rest()
    except Exception as failure:
        failure.add_note(f"SYNC_TEST_SEED={seed} SYNC_TEST_GAMES=1")
        failure.add_note("\n".join(game.story))
        raise


def move(game: Game, rng: random.Random) -> None:
    number, key, luck = rng.randrange(6), rng.choice(KEYS), rng.random()
    if luck < 0.12:
        game.delete(number, key)
    elif luck < 0.5:
        game.write(number, key)
    elif luck < 0.88:
        game.sync(number, random_plan(rng))
    elif luck < 0.93:
        game.straggle(number, rng.randrange(20))
    elif luck < 0.95:
        game.back_up(number)
    elif luck < 0.97:
        game.restore(number)
    elif luck < 0.99:
        game.two_minutes_pass(number)
    else:
        game.server_clock_leaps(number, rng.choice([1, 50, 3_600_000]))


def random_plan(rng: random.Random) -> Plan:
    def some_faults(*how_many: int) -> dict[int, str]:
        return {rng.randrange(5): rng.choice(sorted(FAULTS)) for _ in range(rng.choice(how_many))}

    return Plan(
        faults=some_faults(0, 0, 1, 2, 3),
        token_faults=some_faults(0, 0, 0, 1),
        others={rng.randrange(5): rng.randrange(6) for _ in range(rng.choice([0, 1, 2]))},
        crash_step=rng.choice([None, None, None, rng.randrange(10)]),
    )


def test_devices_converge_that_sync_at_the_same_time(new_user: NewUser) -> None:
    """Requests of several devices are in the server at once; its locks are what keeps stamps and rows in order."""
    user = new_user()
    devices = [user.device(part=PARTS) for _ in range(5)]
    for seed in range(FIRST_SEED, FIRST_SEED + max(3, GAMES // 8)):
        with ThreadPoolExecutor(len(devices)) as pool:
            futures = [pool.submit(live, device, seed * 100 + number) for number, device in enumerate(devices)]
            for future in futures:
                future.result()
        rest(user, devices)
    fresh = user.device()
    fresh.sync()
    assert fresh.state.rows == devices[0].state.rows


def live(device: Device, seed: int) -> None:
    """A device's life in its own thread: edits and syncs, some of which go wrong."""
    rng = random.Random(seed)
    for turn in range(12):
        for _ in range(rng.randrange(4)):
            key = rng.choice(KEYS)
            if key in device.state.rows and rng.random() < 0.3:
                device.delete(*key)
            elif key in device.state.rows:
                device.update(*key, {"title": f"{seed} {turn}"})
            else:
                device.insert(*key, {"title": f"{seed} {turn}"})
        faults = {
            rng.randrange(12): rng.choice([lose_request, lose_answer, crash_after]) for _ in range(rng.randrange(2))
        }
        device.transport = troubled(faults)
        device.tries_to_sync()
    device.transport = direct


def troubled(faults: Mapping[int, Transport]) -> Transport:
    """These faults at the exchanges of these numbers."""
    numbers = itertools.count()

    def transport(request: Request, send: Send) -> Answer:
        return faults.get(next(numbers), direct)(request, send)

    return transport


def rest(user: User, devices: list[Device]) -> None:
    for device in devices:
        user.two_minutes_pass(device)
    for _ in range(2):
        for device in devices:
            device.sync()
    live_rows = {key for key, row in user.rows().items() if row["operation"] != "D"}
    for device in devices:
        assert device.state.rows == devices[0].state.rows
        assert device.state.rows.keys() == live_rows
    stamps = [(line["stamp"], line["ordinal"]) for line in user.history()]
    assert len(stamps) == len(set(stamps))
