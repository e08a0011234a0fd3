"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for when the app is gone.

An app's secret follows from a random nonce and the server's keys, as PINs do, and recovery codes are kept as keyed digests:
a copy of the database alone is of no use.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

import pyotp

from sync_server.accounts.limits import Limits
from sync_server.database import Tx
from sync_server.keys import Keys

_STEP = 30_000
"""Milliseconds."""
_AROUND = (0, -1, 1)
"""Steps whose codes are taken: clocks differ, and typing takes time."""
_RECOVERY_CODES = 10
_SECRET = 20
"""Bytes, as RFC 4226 (section 4) recommends."""


class State(NamedTuple):
    nonce: str
    confirmed: bool
    last_step: int


def new_nonce() -> str:
    return secrets.token_urlsafe(24)


def new_recovery_codes() -> list[str]:
    """Codes of 50 bits, each good for once."""
    return ["-".join(_word() for _ in range(2)) for _ in range(_RECOVERY_CODES)]


def _word() -> str:
    return base64.b32encode(secrets.token_bytes(5)).decode().lower()[:5]


def uri(keys: Keys, nonce: str, account: str, issuer: str) -> str:
    """What an authenticator app reads from a QR code; `secret=` in it is for typing."""
    return pyotp.TOTP(_secret(keys, nonce)).provisioning_uri(name=account, issuer_name=issuer)


def secret(keys: Keys, nonce: str) -> str:
    """The secret in base32, for typing it into an app."""
    return _secret(keys, nonce)


async def state(tx: Tx, user_id: UUID) -> State | None:
    """None: never begun."""
    return await tx.one(State, "totp_of_user", {"user_id": user_id})


async def is_on(tx: Tx, user_id: UUID) -> bool:
    """Whether signing in takes a code."""
    found = await state(tx, user_id)
    return found is not None and found.confirmed


async def begin(tx: Tx, user_id: UUID, nonce: str) -> bool:
    """Keep a nonce, whose secret counts from its first code on. Whether it was kept: one that counts already stays."""
    await tx.execute("begin_totp", {"user_id": user_id, "nonce": nonce})
    found = await state(tx, user_id)
    return found is not None and found.nonce == nonce


async def confirm(tx: Tx, keys: Keys, user_id: UUID, code: str, recovery_codes: list[str]) -> bool:
    """From now on signing in takes a code, or one of the recovery codes. Whether the code was right."""
    if not await _use_app(tx, keys, user_id, code):
        return False
    digests = [_digest(keys, user_id, each) for each in recovery_codes]
    await tx.execute("keep_recovery_codes", {"user_id": user_id, "digests": digests})
    return True


async def limited(tx: Tx, user_id: UUID, limits: Limits, attempt: str, trying: Callable[[Tx], Awaitable[bool]]) -> bool:
    """Whether `trying` says that the code was right. Raises TooManyAttempts.

    Tries of one user's codes come one after the other, so those that are sent at the same time count, too. `attempt` is a
    name of the try's own: the same code may be right the next time.
    """
    await tx.execute("lock_totp", {"user_id": user_id})
    await limits.check(tx)
    if await trying(tx):
        return True
    await limits.record(tx, attempt)
    return False


async def passes(tx: Tx, keys: Keys, user_id: UUID, code: str) -> bool:
    """Whether a code is right: the app's, or a recovery code. Either is used up."""
    if await _use_app(tx, keys, user_id, code):
        return True
    used = await tx.execute("use_recovery_code", {"user_id": user_id, "digest": _digest(keys, user_id, code)})
    return bool(used)


async def remove(tx: Tx, user_id: UUID) -> None:
    """Signing in takes no code any more."""
    await tx.execute("remove_totp", {"user_id": user_id})


async def _use_app(tx: Tx, keys: Keys, user_id: UUID, code: str) -> bool:
    found = await state(tx, user_id)
    if found is None:
        return False
    given = "".join(code.split())
    generator = pyotp.TOTP(_secret(keys, found.nonce))
    now = await tx.value("database_time", {}) // _STEP
    for step in (now + each for each in _AROUND):
        if hmac.compare_digest(generator.generate_otp(step).encode(), given.encode(errors="replace")):
            return bool(await tx.execute("use_totp_step", {"user_id": user_id, "step": step}))
    return False


def _secret(keys: Keys, nonce: str) -> str:
    return base64.b32encode(keys.digest("totp", nonce)[:_SECRET]).decode()


def _digest(keys: Keys, user_id: UUID, code: str) -> str:
    return keys.digest("recovery code", str(user_id), "".join(code.lower().split())).hex()
