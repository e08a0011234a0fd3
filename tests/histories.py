"""Random histories: games by seed with the model in step, and devices that sync at the same time, where the end counts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from device import Device
from game import FAULTS, KEYS, SKEWS, Game, Plan
from operators import put_back
from sync_server.stored.versions import RowKey
from users import User
from wire import Answer, Request, Send, Transport, crash_after, direct, lose_answer, lose_request


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
    elif luck < 0.9:
        game.bring_back(number, rng.randrange(20))
    elif luck < 0.93:
        game.straggle(number, rng.randrange(20))
    elif luck < 0.95:
        game.back_up(number)
    elif luck < 0.96:
        game.restore(number)
    elif luck < 0.97:
        game.come_back(number, with_cursor=rng.random() < 0.5)
    elif luck < 0.99:
        rng.choice([game.two_minutes_pass, game.database_crashes])(number)
    else:
        game.server_clock_leaps(number, rng.choice([1, 50, 3_600_000]))


def random_plan(rng: random.Random) -> Plan:
    def some_faults(*how_many: int) -> dict[int, str]:
        return {rng.randrange(5): rng.choice(sorted(FAULTS)) for _ in range(rng.choice(how_many))}

    return Plan(
        faults=some_faults(0, 0, 1, 2, 3),
        token_faults=some_faults(0, 0, 0, 1),
        others={rng.randrange(5): rng.randrange(6) for _ in range(rng.choice([0, 1, 2]))},
        operator={rng.randrange(5): rng.randrange(20) for _ in range(rng.choice([0, 0, 0, 1]))},
        crash_step=rng.choice([None, None, None, rng.randrange(10)]),
        database_crash=rng.choice([None, None, None, rng.randrange(5)]),
    )


def live_at_once(user: User, devices: Sequence[Device], seed: int) -> None:
    """The devices live in threads, as does an operator; then they come to rest; AssertionError unless they are equal."""
    with ThreadPoolExecutor(len(devices) + 1) as pool:
        futures = [pool.submit(live, device, seed * 100 + number) for number, device in enumerate(devices)]
        futures.append(pool.submit(operate, user, seed))
        for future in futures:
            future.result()
    rest_together(user, devices)


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


def operate(user: User, seed: int) -> None:
    """Bring back versions while the devices sync."""
    rng = random.Random(seed)
    for _ in range(6):
        lines = [*user.overridden(), *user.rows().values()]
        if lines:
            line = rng.choice(lines)
            row_data = rng.choice([line["row_data"], '{"title": "by an operator"}', None])
            put_back(user.connection, RowKey(user.space_id, line["tablename"], line["rowguid"]), row_data)


def troubled(faults: Mapping[int, Transport]) -> Transport:
    """These faults at the exchanges of these numbers."""
    numbers = itertools.count()

    def transport(request: Request, send: Send) -> Answer:
        return faults.get(next(numbers), direct)(request, send)

    return transport


def rest_together(user: User, devices: Sequence[Device]) -> None:
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
