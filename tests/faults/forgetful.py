"""Users who have forgotten their passwords: every PIN that they were promised is mailed, sooner or later."""

from __future__ import annotations

import random
import threading
from typing import Self

from device import Device, SyncFailed
from faults.crowd import Crowd
from faults.waiting import until
from users import User


class Forgetful:
    """Demands PINs for so many users, one after the other, as long as the block lasts. Makes them while all is well."""

    def __init__(self, crowd: Crowd, seed: int, number: int, pause: float) -> None:
        self._crowd, self._pause = crowd, pause
        self._random = random.Random(seed)
        self._waiting = [self._register() for _ in range(number)]
        self._device = Device(crowd.phone().send, crowd.realm)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="forgetful", daemon=True)
        self.promised: set[str] = set()

    def _register(self) -> str:
        user = User(self._crowd.phone().send, self._crowd.realm, self._crowd.connection)
        user.device()
        return user.email

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(120)

    def _live(self) -> None:
        while self._waiting and not self._stopping.wait(self._pause * self._random.uniform(0.5, 1.5)):
            try:
                self._device.forgotten_password(self._waiting[-1])
            except SyncFailed:
                continue
            self.promised.add(self._waiting.pop())

    def check_queued(self) -> None:
        """Raises AssertionError unless each mail has arrived or waits in the queue."""
        lost = self.promised - self._arrived() - self._queued()
        assert not lost, f"{len(lost)} mails of {len(self.promised)} are lost"

    def check_arrived(self, seconds: float) -> None:
        until(lambda: self.promised <= self._arrived(), seconds, "a mail was promised and did not arrive")

    def _arrived(self) -> set[str]:
        return {recipient for mail in list(self._crowd.world.office.received) for recipient in mail.recipients}

    def _queued(self) -> set[str]:
        query = "SELECT email FROM sync.mails JOIN sync.users ON users.id = user_id"
        return {line["email"] for line in self._crowd.connection.execute(query).fetchall()}
