"""Users with devices that edit and sync without a pause, and note what they were told."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Self

import httpx

from device import Change, Device, SyncFailed
from faults.world import WAIT_LIMIT, World
from twin import Applied, changes_of
from users import Connection, User, look_into
from wire import Answer, Lost, Request

KEYS = [(table, f"{number}") for table in ("todos", "notes") for number in range(4)]
"""Rows that everybody edits."""
NEW = 0.5
"""The share of edits that make a row which hardly anybody edits again: what it misses, no later edit makes up for."""
EXPECTED = {200, 403, 408, 409, 503}
"""Statuses of answers. 409: the sync before was not cancelled, because that call was lost, too."""


@dataclass
class Tally:
    """What a crowd has seen."""

    syncs: int = 0
    failed: int = 0
    """Syncs that came to nothing and were tried again."""
    requests: int = 0
    lost: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    longest_wait: float = 0.0
    """Seconds that a request took, without the silences of the world."""
    acknowledged: int = 0
    """Changes."""
    mistakes: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("syncs", "failed", "requests", "lost", "acknowledged"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.statuses += other.statuses
        self.longest_wait = max(self.longest_wait, other.longest_wait)
        self.mistakes += other.mistakes


class Phone:
    """HTTP as a phone does it: a connection for every call. Notes how long each call takes and what comes back."""

    def __init__(self, world: World, tally: Tally, address: str) -> None:
        self._world, self._tally, self._address = world, tally, address
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=world.net.url, timeout=60, limits=limits, trust_env=False)

    def send(self, request: Request) -> Answer:
        """Raises Lost when no whole answer comes."""
        begun = time.monotonic()
        headers = {**request.headers(), "X-Forwarded-For": self._address}
        try:
            answer = self._http.post(request.path, content=request.body, headers=headers)
        except httpx.TransportError as fault:
            self._tally.lost += 1
            raise Lost from fault
        finally:
            self._note(request, begun, time.monotonic())
        self._tally.statuses[answer.status_code] += 1
        if answer.status_code not in EXPECTED:
            self._tally.mistakes.append(f"{request.path}: {answer.status_code} {answer.text}")
        return Answer(answer.status_code, answer.content)

    def _note(self, request: Request, begun: float, ended: float) -> None:
        covered = self._world.away(begun, ended)
        waited = ended - begun - covered
        self._tally.requests += 1
        self._tally.longest_wait = max(self._tally.longest_wait, waited)
        if waited > WAIT_LIMIT:
            self._tally.mistakes.append(f"{request.path} took {waited:.1f} s")

    def close(self) -> None:
        self._http.close()


@dataclass
class Witness(Device):
    """A device that remembers which changes were acknowledged."""

    acknowledged: list[Applied] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def push(self, changes: Sequence[Change], *, partial: bool = False, cursor: int | None = None) -> int | None:
        answer = super().push(changes, partial=partial, cursor=cursor)
        told = changes_of({"changes": list(changes)})
        self.acknowledged += [Applied(key, self.client_id, change) for key, change in told.items()]
        self.tally.acknowledged += len(told)
        return answer


class Member:
    """A device, edited and synced by a thread of its own until it is told to stop."""

    def __init__(self, device: Witness, seed: int, tally: Tally, mark: str) -> None:
        self.device, self.tally = device, tally
        self.synced_at = 0.0
        """When the last sync that came to its end began."""
        self.last_failure = ""
        self.stopping = threading.Event()
        self._random = random.Random(seed)
        self._mark = mark
        self._values = 0
        self.thread = threading.Thread(target=self._live, name=mark, daemon=True)

    def _live(self) -> None:
        try:
            while not self.stopping.is_set():
                for _ in range(self._random.randrange(5)):
                    self._edit()
                pause = 0.2 if self.sync() else 0.6
                self.stopping.wait(self._random.uniform(0, pause))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it must not happen
            self.tally.mistakes.append(f"{self._mark}: {type(exc).__name__}: {exc}")

    def _edit(self) -> None:
        new = ("notes", f"{self._mark} {self._values}")
        key = new if self._random.random() < NEW else self._random.choice(KEYS)
        if key in self.device.state.rows and self._random.random() < 0.3:
            self.device.delete(*key)
            return
        self._values += 1
        value = {"title": f"{self._mark} {self._values}", "text": "x" * self._random.choice([0, 0, 10, 3000])}
        self.device.save(*key, value) if key in self.device.state.rows else self.device.insert(*key, value)

    def sync(self) -> bool:
        begun = time.monotonic()
        try:
            self.device.sync()
        except SyncFailed as failure:
            self.last_failure = f"{type(failure).__name__}: {failure}"
            self.tally.failed += 1
            return False
        self.tally.syncs += 1
        self.synced_at = begun
        return True


@dataclass
class Household:
    """A user and their devices."""

    user: User
    members: list[Member]

    @property
    def devices(self) -> list[Witness]:
        return [member.device for member in self.members]


class Crowd:
    """Users with devices in a realm; they live as long as the block lasts. Makes them while all is well."""

    def __init__(self, world: World, seed: int, *, users: int, devices: int, realm: str = "main") -> None:
        self.world, self.tally, self.realm = world, Tally(), realm
        self._stack = ExitStack()
        self._random = random.Random(seed)
        self.connection = self._look()
        self.households = [self._household(number, devices) for number in range(users)]

    def _look(self) -> Connection:
        return self._stack.enter_context(look_into(self.world.urls[self.realm]))

    def look_again(self) -> None:
        """The faults may have ended the connection through which tests look into the database."""
        self.connection = self._look()
        for household in self.households:
            household.user.connection = self.connection

    def _household(self, number: int, devices: int) -> Household:
        user = User(self.phone().send, self.realm, self.connection)
        members = [self._member(user, f"{number}.{each}") for each in range(devices)]
        return Household(user, members)

    def _member(self, user: User, mark: str) -> Member:
        device = user.join(Witness(self.phone().send, self.realm, part=3, tally=self.tally))
        return Member(device, self._random.randrange(1 << 30), self.tally, mark)

    def phone(self) -> Phone:
        """One with an address of its own."""
        phone = Phone(self.world, self.tally, f"2001:db8:{self._random.randrange(1 << 16):x}::1")
        self._stack.callback(phone.close)
        return phone

    @property
    def members(self) -> list[Member]:
        return [member for household in self.households for member in household.members]

    def newcomer(self, household: Household) -> Witness:
        """One more device of this user."""
        return household.user.join(Witness(self.phone().send, self.realm, part=3, tally=self.tally))

    def __enter__(self) -> Self:
        for member in self.members:
            member.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        with suppress(Exception):
            self._stack.close()

    def stop(self) -> None:
        """End the threads, each after the sync that it is in."""
        for member in self.members:
            member.stopping.set()
        for member in self.members:
            member.thread.join(120)

    def all_have_synced(self, since: float, seconds: float) -> float:
        """Wait until each device has begun and ended a sync after `since`; the seconds that it took."""

        def waiting() -> list[str]:
            return [member.last_failure for member in self.members if member.synced_at < since]

        end = time.monotonic() + seconds
        while (failures := waiting()) and not self.tally.mistakes:
            assert time.monotonic() < end, f"devices cannot sync after {seconds} s: {failures}"
            time.sleep(0.05)
        return time.monotonic() - since
