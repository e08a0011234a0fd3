"""Random lives with the old server, taken over at random moments: then all devices hold the same rows, and none is lost.

Each run is a seed; a failing one can be run again by its number: pytest tests/adoption/test_moving.py -k "[7]".
ADOPTION_RUNS=100 makes it a long run.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from adoption import old_tables
from adoption.conftest import NUMBERS, adopt
from adoption.old_server import OldServer, move
from conftest import Process, start_server
from device import Device, wall_clock
from postgres import Postgres
from users import Connection, look_into
from wire import Wire, new_email

RUNS = int(os.environ.get("ADOPTION_RUNS", "6"))
MINUTE = 60_000
TABLES = ("todos", "notes")


class Time:
    """The old server's time: long ago at first, and never standing still; `catch_up` makes it the present."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.now = wall_clock() - 30 * 24 * 60 * MINUTE
        self.is_present = False

    def server(self) -> int:
        """Now, for a line of the log: the next one is a little later."""
        self.now = max(self.now + self._rng.randint(1, 4), wall_clock() if self.is_present else 0)
        return self.now

    def passes(self, milliseconds: int) -> None:
        if not self.is_present:
            self.now += milliseconds

    def of_device(self, skew: int) -> int:
        return (wall_clock() if self.is_present else self.now) + skew


class Life:
    """A user with three devices that edit, sync with the old server, and now and then push while another one syncs."""

    def __init__(
        self, rng: random.Random, old: OldServer, time: Time, *, realm: str, interrupts_empty_syncs: bool
    ) -> None:
        self.rng, self.old, self.time, self.realm = rng, old, time, realm
        self.interrupts_empty_syncs = interrupts_empty_syncs
        self.email, password = new_email(), "pässwörd ✓"
        self.user_id = old.register(self.email, password)
        self.devices: list[Device] = []
        for _ in range(3):
            skew = rng.choice([0, 0, -120 * MINUTE, 24 * 60 * MINUTE])
            device = Device(old.send, realm, TABLES, clock=lambda skew=skew: time.of_device(skew))  # type: ignore[misc]
            old.add(self.user_id, device, self.email, password)
            self.devices.append(device)

    def edit(self, device: Device) -> None:
        keys = sorted(device.state.rows)
        what = self.rng.random()
        if what < 0.5 or not keys:
            device.insert(
                self.rng.choice(TABLES), str(uuid.UUID(int=self.rng.getrandbits(128))), {"n": self.rng.random()}
            )
            return
        table, guid = self.rng.choice(keys)
        if what < 0.75:
            device.save(table, guid, {"n": self.rng.random()})
        else:
            device.delete(table, guid)

    def sync(self, device: Device, others: list[Device]) -> None:
        """A sync; between its pull and its push time passes, and another device may sync as a whole.

        Where this one pushes nothing that leaves no trace, which is why it may only do so when that is what is tested.
        """

        def step(name: str) -> None:
            pushes = {entry.key[1] for entry in device.state.log} - self.old.outdated
            if name == "applied" and (pushes or self.interrupts_empty_syncs) and self.rng.random() < 0.4:
                device.step = lambda _: None
                self.time.passes(self.rng.randint(5, 50_000))
                other = self.rng.choice(others)
                self.edit(other)
                other.sync()
                self.time.passes(self.rng.randint(5, 50_000))

        device.step = step
        device.sync()
        device.step = lambda _: None

    def goes_on(self, steps: int, devices: list[Device] | None = None) -> None:
        acting = devices or self.devices
        for _ in range(steps):
            self.time.passes(self.rng.choice([50, 2000, 10 * MINUTE, 300 * MINUTE]))
            device = self.rng.choice(acting)
            if self.rng.random() < 0.55:
                self.edit(device)
            else:
                self.sync(device, [other for other in acting if other is not device] or [device])

    def settle(self) -> None:
        for _ in range(2):
            for device in self.devices:
                device.sync()


class World:
    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        self.wire = Wire(process.url)
        self.connection: Connection = look_into(url)
        self.of_old_server = psycopg.connect(url, autocommit=True)

    def current(self, user_id: uuid.UUID) -> dict[tuple[str, str], dict[str, object]]:
        """The rows of the old log that are not deleted."""
        query = """
            SELECT n.tablename, n.rowguid::text AS rowguid, d.json FROM (
                SELECT DISTINCT ON (rowguid) * FROM public.sync_data WHERE userid = %s ORDER BY rowguid, id DESC
            ) n JOIN public.data d ON d.rowguid = n.rowguid WHERE n.operation <> 'D'
        """
        found = self.connection.execute(query, [user_id]).fetchall()
        return {
            (row["tablename"], row["rowguid"]): {
                name: value for name, value in row["json"].items() if name != "rowguid"
            }
            for row in found
        }


@pytest.fixture(scope="module")
def world(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    url = postgres.create_database(f"moving_{next(NUMBERS)}")
    old_tables.make(url)
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"main": url}}}
    process = start_server(tmp_path_factory.mktemp("moving"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    found = World(process, url)
    yield found
    found.wire.close()
    found.connection.close()
    found.of_old_server.close()
    assert process.stop() == 0
    assert "Traceback" not in process.log


def alive(world: World, seed: int, *, interrupts_empty_syncs: bool = False) -> Life:
    rng = random.Random(seed)
    time = Time(rng)
    old = OldServer(world.of_old_server, time.server)
    return Life(rng, old, time, realm="main", interrupts_empty_syncs=interrupts_empty_syncs)


def assert_same(life: Life) -> None:
    first, *others = [device.state.rows for device in life.devices]
    for rows in others:
        assert rows == first


def assert_taken_over(world: World, life: Life) -> None:
    """After the move all devices hold what the old server held, but for rows that one of them has still to push."""
    pending = {entry.key for device in life.devices for entry in device.state.log}
    held = world.current(life.user_id)
    for device in life.devices:
        move(device, world.wire.send)
    life.settle()
    assert_same(life)
    rows = life.devices[0].state.rows
    assert {key: row for key, row in rows.items() if key not in pending} == {
        key: row for key, row in held.items() if key not in pending
    }


@pytest.mark.parametrize("seed", range(RUNS))
def test_devices_that_move_at_once_hold_what_the_old_server_held(world: World, seed: int) -> None:
    life = alive(world, seed)
    life.goes_on(30)
    if seed % 2:  # the old server ran on
        adopt(world.url)
        life.goes_on(15)
    adopt(world.url)
    assert_taken_over(world, life)


@pytest.mark.parametrize("seed", range(10_000, 10_000 + RUNS // 2))
def test_edits_that_were_under_way_arrive(world: World, seed: int) -> None:
    life = alive(world, seed)
    life.goes_on(30)
    adopt(world.url)
    for device in life.devices:
        move(device, world.wire.send)
        life.edit(device)
    life.settle()
    assert_same(life)


@pytest.mark.parametrize("seed", range(20_000, 20_000 + RUNS // 2))
def test_syncs_that_left_no_trace_are_made_good_by_sending_all_again(world: World, seed: int) -> None:
    life = alive(world, seed, interrupts_empty_syncs=True)
    life.goes_on(30)
    adopt(world.url, all_again=True)
    assert_taken_over(world, life)


@pytest.mark.parametrize("seed", range(30_000, 30_000 + RUNS))
def test_devices_that_move_one_after_the_other_converge(world: World, seed: int) -> None:
    life = alive(world, seed)
    life.goes_on(20)
    adopt(world.url)
    life.time.is_present = True
    staying = list(life.devices)
    while staying:
        moving = staying.pop()
        move(moving, world.wire.send)
        moving.sync()
        life.goes_on(6)
        adopt(world.url)
    life.settle()
    assert_same(life)
