"""Password hashes. bcrypt runs in threads of its own, so that it never holds up the calls of others."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from sync_server.errors import Unavailable
from sync_server.observing.tally import Histogram

T = TypeVar("T")
_MOST_WAITING = 200
"""Calls that may wait for a hash; at 0.2 s each a longer queue would outlast the patience of those in it."""
_ADOPTED = "sha512"
"""Scheme of hashes taken over from sync_server_ts: sha512$<salt>$<hex of sha512(password + salt)>."""


class Passwords:
    """Hashes and verifies passwords, a bounded number at a time."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(
            max_workers=max(1, min(4, (os.cpu_count() or 2) - 1)), thread_name_prefix="bcrypt"
        )
        self.waiting = 0
        """Passwords that are hashed or wait for it."""
        self.waits = Histogram()

    async def hash(self, password: str) -> str:
        """A new bcrypt hash. Raises Unavailable when too many are being made."""
        return await self._run(lambda: self._hash(password))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether `password` belongs to the `stored` hash. Without one the answer is no, and takes as long."""
        return await self._run(lambda: self._verify(password, stored))

    def outdated(self, stored: str) -> bool:
        """Whether a hash should be replaced when its password is next seen."""
        return not stored.startswith(f"$2b${self._rounds:02}$")

    async def _run(self, work: Callable[[], T]) -> T:
        if self.waiting >= _MOST_WAITING:
            raise Unavailable(retry_after=10)
        self.waiting += 1
        begun = time.monotonic()

        def in_turn() -> T:
            self.waits.observe(time.monotonic() - begun)
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, in_turn)
        finally:
            self.waiting -= 1

    def _hash(self, password: str) -> str:
        return bcrypt.hashpw(_shortened(password), bcrypt.gensalt(self._rounds)).decode()

    def _verify(self, password: str, stored: str | None) -> bool:
        if stored is not None and stored.startswith("$2"):
            with contextlib.suppress(ValueError):  # a damaged hash is nobody's
                return bcrypt.checkpw(_shortened(password), stored.encode())
        bcrypt.checkpw(_shortened(password), self._nobodys)  # as slow as the others
        return stored is not None and _verify_adopted(password, stored)

    @functools.cached_property
    def _nobodys(self) -> bytes:
        return bcrypt.hashpw(b"", bcrypt.gensalt(self._rounds))


def _shortened(password: str) -> bytes:
    """All of the password in 44 bytes without NUL: bcrypt takes 72 bytes and stops at a NUL."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest())


def _verify_adopted(password: str, stored: str) -> bool:
    scheme, _, salt_and_digest = stored.partition("$")
    salt, _, digest = salt_and_digest.rpartition("$")
    made = hashlib.sha512((password + salt).encode()).hexdigest()
    return scheme == _ADOPTED and hmac.compare_digest(made.encode(), digest.encode())
