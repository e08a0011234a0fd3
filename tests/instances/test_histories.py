"""G1-G6 with several servers whose clocks are an hour apart, each call of a device reaching another one.

The model (tests/twin.py) follows every call and knows one clock, the database's. So a server that lets its own clock decide
anything, a stamp, a rank, the age of a sync, is found by the first call that it spoils.
"""

from __future__ import annotations

import os

import pytest

from game import PARTS
from histories import live_at_once, play
from instances.uploading import UploadingDevice
from users import NewUser

GAMES = int(os.environ.get("SYNC_TEST_GAMES", "6"))
FIRST_SEED = int(os.environ.get("SYNC_TEST_SEED", "0"))
pytestmark = pytest.mark.timeout(120 + 10 * GAMES)


def test_devices_converge_in_random_histories(new_user: NewUser) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + GAMES):
        play(seed, [new_user(), new_user()])


def test_devices_converge_that_sync_at_the_same_time(new_user: NewUser) -> None:
    """Some of them send their calls in parts, which reach different servers too."""
    users = [new_user(), new_user()]
    devices = [
        [user.device(part=PARTS), user.device(), user.join(UploadingDevice(user.send, user.realm))] for user in users
    ]
    for seed in range(FIRST_SEED, FIRST_SEED + max(1, GAMES // 8)):
        for user, theirs in zip(users, devices, strict=True):
            live_at_once(user, theirs, seed)
