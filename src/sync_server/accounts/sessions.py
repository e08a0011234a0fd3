"""Logging in and refreshing tokens: rotation, grace for lost answers, and the end of a session whose token was copied."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sync_server import observing
from sync_server.accounts import account, guessing, standing
from sync_server.accounts.limits import Limits
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.protocol import LoggedIn
from sync_server.accounts.standing import Standing
from sync_server.accounts.tokens import ACCESS_SECONDS, Device, Tokens, new_id
from sync_server.database import Tx
from sync_server.errors import LoginRejected, TokenRejected
from sync_server.realms import Realm

_RACES = 3
ROTATION = 5 * 60_000
"""Milliseconds after which a refresh token is replaced when it is used."""


class Credentials(NamedTuple):
    email: str
    password: str


class _Session(NamedTuple):
    epoch: int
    session: int


def credentials(authorization: str | None) -> Credentials:
    """Of a Basic `Authorization` header (RFC 7617, UTF-8; the password may hold colons). Raises LoginRejected."""
    scheme, _, encoded = (authorization or "").partition(" ")
    try:
        email, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise LoginRejected from None
    if scheme.lower() != "basic" or not colon or "\0" in email:
        raise LoginRejected
    return Credentials(email, password)


async def login(
    realm: Realm, passwords: Passwords, tokens: Tokens, limits: Limits, given: Credentials, client: UUID
) -> LoggedIn:
    """Begin or renew a client's session. Raises LoginRejected, whatever is wrong; TooManyAttempts."""
    await realm.read(limits.check)
    observing.present().claimed = client
    for _ in range(_RACES):
        if answer := await _log_in(realm, passwords, tokens, limits, given, client):
            return answer
    raise LoginRejected


async def _log_in(
    realm: Realm, passwords: Passwords, tokens: Tokens, limits: Limits, given: Credentials, client: UUID
) -> LoggedIn | None:
    """None when the stored hash changed after it was verified, as when another device of the user has just replaced it."""
    known = await account.find(realm, given.email, client)
    stored = known.password_hash if known.active else None
    right = await guessing.is_right(realm, passwords, limits, *given, stored)
    if not right or stored is None or known.user_id is None:
        raise LoginRejected
    if known.client_owner != known.user_id:
        await realm.transact(lambda tx: limits.record(tx, *given))
        raise LoginRejected
    better = await passwords.hash(given.password) if passwords.outdated(stored) else stored
    refresh_id = new_id()
    parameters = {
        "client_id": client,
        "user_id": known.user_id,
        "password_hash": better,
        "refresh_id": refresh_id,
    }
    if better != stored:
        improved = {**parameters, "better": better, "password_hash": stored}
        await realm.transact(lambda tx: tx.execute("improve_password_hash", improved))
    device = await realm.transact(lambda tx: _begin(tx, realm.name, parameters))
    if device is None:
        return None
    observing.present().device = device
    return _answer(tokens.access(device), tokens.refresh(_with_id(device, refresh_id)))


async def _begin(tx: Tx, realm: str, parameters: Mapping[str, Any]) -> Device | None:
    session = await tx.one(_Session, "begin_session", parameters)
    if session is None:
        return None
    user, client = parameters["user_id"], parameters["client_id"]
    device = Device(realm, user, client, *session, sync_number=0, token_id=new_id())
    return msgspec.structs.replace(device, sync_number=await standing.sync_number(tx, device))


async def refresh(realm: Realm, tokens: Tokens, limits_of: Callable[[], Limits], token: str) -> LoggedIn:
    """New tokens for a client. Nothing is written unless the refresh token is due for rotation. Raises TokenRejected.

    `limits_of` gives the caller's limits, which only a refusal needs.
    """
    try:
        device = tokens.read("refresh", realm.name, token)
        state = await standing.of_device(realm, device)
        if state is None:
            raise TokenRejected
        observing.present().device = device
        following = await _next_refresh(realm, tokens, device, state, token)
        number = state.sync_number
        if number is None:
            number = await realm.transact(lambda tx: standing.sync_number(tx, device))
    except TokenRejected:
        limits = limits_of()
        await realm.read(limits.check)
        await realm.transact(lambda tx: limits.record(tx, token))
        raise
    renewed = msgspec.structs.replace(device, sync_number=number, token_id=new_id(), quiet=bool(state.quiet))
    return _answer(tokens.access(renewed), following)


async def _next_refresh(realm: Realm, tokens: Tokens, device: Device, state: Standing, token: str) -> str:
    """The refresh token that the answer carries: `token` itself, which names `device`, unless another one is due.

    The present token is replaced every few minutes; the one before stays valid until its successor is used, so a lost
    answer never strands a device. Any other one has been used before its successor was: somebody holds a copy, and the
    session ends for both.
    """
    if device.token_id == state.refresh_previous and state.refresh_id is not None:
        return tokens.refresh(_with_id(device, state.refresh_id))
    if device.token_id != state.refresh_id:
        await realm.transact(lambda tx: tx.execute("end_session", device.parameters))
        raise TokenRejected
    if abs(state.refresh_age) >= ROTATION:
        new = _with_id(device, new_id())
        rotated = {**device.parameters, "refresh_id": new.token_id}
        if await realm.transact(lambda tx: tx.execute("rotate_refresh", rotated)):
            return tokens.refresh(new)
        return tokens.refresh(device)  # the same call at the same time has rotated it; this one is the previous now
    if state.refresh_previous is not None:
        await realm.transact(lambda tx: tx.execute("forget_previous_refresh", device.parameters))
    return token  # which is not older than its id, five minutes at most


def _with_id(device: Device, token_id: str) -> Device:
    return msgspec.structs.replace(device, token_id=token_id)


def _answer(access: str, refresh: str) -> LoggedIn:
    return LoggedIn(
        access_token=access,
        refresh_token=refresh,
        accessToken=access,
        refreshToken=refresh,
        expires_in=ACCESS_SECONDS,
        expires_on=(int(time.time()) + ACCESS_SECONDS) * 1000,
    )
