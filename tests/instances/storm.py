"""Devices that edit and sync all the time, each in a thread, and note what they were told is stored."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from device import Device, Key, SyncFailed
from users import User
from wire import Answer, Lost, Request, Send

SHARED: list[Key] = [("todos", f"shared {number}") for number in range(4)]
"""What the devices of a user edit by turns."""
_TRIES = 6


class Edit(NamedTuple):
    """A change as the server records it."""

    client: str
    key: Key
    operation: str
    date: int
    data: str | None


@dataclass
class Surfer:
    """A device in the storm, and what has become of its syncs."""

    user: User
    device: Device
    rng: random.Random
    acknowledged: set[Edit] = field(default_factory=set)
    own: dict[Key, str] = field(default_factory=dict)
    """Titles of rows that nobody else touches, once acknowledged."""
    syncs: int = 0
    failures: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def live(self, over: threading.Event) -> None:
        while not over.is_set():
            self.edit()
            self.sync()
            over.wait(self.rng.uniform(0, 0.05))

    def edit(self) -> None:
        device, number = self.device, next(self.numbers)
        title = f"{device.client_id} {number}"
        device.insert("notes", title, {"title": title})
        key = self.rng.choice(SHARED)
        if key in device.state.rows and self.rng.random() < 0.2:
            device.delete(*key)
        else:
            device.save(*key, {"title": title})

    def sync(self) -> bool:
        """Try to; whether it came to its end. The edits are then acknowledged."""
        edits = {self._edit(change) for change in self.device.pending()}
        try:
            self.device.sync()
        except SyncFailed as failure:
            self.failures.append(repr(failure))
            return False
        self.syncs += 1
        self.acknowledged |= edits
        self.own |= {edit.key: edit.key[1] for edit in edits if edit.key[0] == "notes"}
        return True

    def _edit(self, change: dict[str, Any]) -> Edit:
        key = (change["tablename"], change["rowguid"])
        gone = change["operation"] == "D" or not change["rowData"]
        data = None if gone else json.dumps(change["rowData"], sort_keys=True)
        return Edit(self.device.client_id, key, "D" if gone else change["operation"], change["clientdate"], data)

    def come_to_rest(self) -> None:
        """Sync, at once or after the few tries that a sync cut in the middle may cost."""
        assert any(self.sync() for _ in range(_TRIES)), self.failures[-_TRIES:]


class Storm:
    """`devices` for each of the users. The realm keeps full history."""

    def __init__(self, users: Sequence[User], devices: int = 2) -> None:
        self.users = users
        self.faults: list[BaseException] = []
        self.surfers = [
            Surfer(user, user.device(send=or_lost(user.send)), random.Random(number))
            for number, user in enumerate(user for user in users for _ in range(devices))
        ]

    @property
    def syncs(self) -> int:
        return sum(surfer.syncs for surfer in self.surfers)

    @property
    def failures(self) -> list[str]:
        return [failure for surfer in self.surfers for failure in surfer.failures]

    @contextmanager
    def raging(self) -> Iterator[None]:
        """The devices live as long as the block lasts; what goes wrong in one of them is raised at its end."""
        over = threading.Event()

        def live(surfer: Surfer) -> None:
            try:
                surfer.live(over)
            except BaseException as fault:  # noqa: BLE001 - raised below
                self.faults.append(fault)

        threads = [threading.Thread(target=live, args=(surfer,), daemon=True) for surfer in self.surfers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(90)
        assert not self.faults, self.faults
        assert not any(thread.is_alive() for thread in threads), "a device is stuck"

    def until_synced(self, more: int, limit: float = 120.0) -> None:
        """Wait until every device has come to the end of so many further syncs."""
        goals = [(surfer, surfer.syncs + more) for surfer in self.surfers]
        deadline = time.monotonic() + limit
        while any(surfer.syncs < goal for surfer, goal in goals):
            assert not self.faults, self.faults
            assert time.monotonic() < deadline, [(surfer.syncs, goal, surfer.failures[-2:]) for surfer, goal in goals]
            time.sleep(0.05)

    def check(self) -> None:
        """All devices converge; nothing that was acknowledged is lost; nothing was applied twice (G1, G3, G5)."""
        for _ in range(2):
            for surfer in self.surfers:
                surfer.come_to_rest()
        for user in self.users:
            mine = [surfer for surfer in self.surfers if surfer.user is user]
            fresh = user.device()
            fresh.sync()
            for surfer in mine:
                assert surfer.device.state.rows == fresh.state.rows
                assert {key: fresh.state.rows[key]["title"] for key in surfer.own} == surfer.own
            _check_records(user, set().union(*(surfer.acknowledged for surfer in mine)))


def _check_records(user: User, acknowledged: set[Edit]) -> None:
    applied = Counter(_recorded(line) for line in user.history())
    assert [edit for edit, times in applied.items() if times > 1] == []
    kept = {_recorded(line) for line in user.overridden()}
    gone = {edit.key for edit in applied if edit.data is None}
    lost = acknowledged - applied.keys() - kept
    assert {
        edit for edit in lost if edit.data is not None or edit.key not in gone
    } == set()  # two may delete the same row


def _recorded(line: dict[str, Any]) -> Edit:
    data = None if line["row_data"] is None else json.dumps(json.loads(line["row_data"]), sort_keys=True)
    key = (line["tablename"], line["rowguid"])
    return Edit(str(line["client_id"]), key, line["operation"], line["client_date"], data)


def or_lost(send: Send, note: Callable[[Request, float], None] = lambda _request, _seconds: None) -> Send:
    """As a device has it: a connection that breaks, and what proxies say when they get no answer, is a lost call."""

    def send_or_lose(request: Request) -> Answer:
        begun = time.monotonic()
        try:
            answer = send(request)
        except httpx.TransportError as fault:
            raise Lost(repr(fault)) from fault
        finally:
            note(request, time.monotonic() - begun)
        if answer.status in {502, 504}:
            raise Lost(answer.body.decode(errors="replace"))
        return answer

    return send_or_lose
