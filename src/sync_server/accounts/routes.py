"""The account calls of the wire protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from sync_server import bodies, observing
from sync_server.accounts import protocol, registration, resets, sessions, unregistration
from sync_server.accounts.limits import Action, Limits
from sync_server.accounts.protocol import Done, LoggedIn, Registered, email_key
from sync_server.accounts.tokens import Device
from sync_server.errors import PinRejected
from sync_server.realms import Realm
from sync_server.server import Server

LimitsOf = Callable[[Action, str | None], Limits]
"""The limits of an action for the caller and, where the call names one, an account."""

_PIN_SECONDS = 0.25
"""How long a demand for a PIN takes at least: the time does not tell known addresses from unknown ones."""
_WRONG_PIN_SECONDS = 0.1
"""The same for a wrong PIN, which costs less."""


@post("/register/{realm_name:str}", status_code=200)
async def register(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    limits_of: NamedDependency[LimitsOf],
    body: RawBody,
) -> Registered:
    """Make a user and a client, or add a client to a user."""
    sent = bodies.decode(protocol.REGISTRATION, body)
    making, joining = limits_of("register", None), limits_of("login", email_key(sent.email))
    return Registered(await registration.register(realm, server.passwords, making, joining, sent))


@post("/login/{realm_name:str}", status_code=200)
async def login(
    request: Request[Any, Any, Any],
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    limits_of: NamedDependency[LimitsOf],
    body: RawBody,
) -> LoggedIn:
    """Tokens for a client, by email and password."""
    given = sessions.credentials(request.headers.get("authorization"))
    client = protocol.login_client(body)
    limits = limits_of("login", email_key(given.email))
    return await sessions.login(realm, server.passwords, server.tokens, limits, given, client)


@post("/login/{realm_name:str}/refreshToken", status_code=200)
async def refresh_token(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    limits_of: NamedDependency[LimitsOf],
    body: RawBody,
) -> LoggedIn:
    """New tokens for a refresh token."""
    return await refresh(server, realm, limits_of, body)


async def refresh(server: Server, realm: Realm, limits_of: LimitsOf, body: bytes) -> LoggedIn:
    """The same, for the short way past Litestar (direct.py)."""
    sent = bodies.decode(protocol.REFRESH, body)
    return await sessions.refresh(realm, server.tokens, lambda: limits_of("refresh", None), sent.refresh_token)


@post("/unregister/{realm_name:str}", status_code=200)
async def unregister(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    device: NamedDependency[Device],
    limits_of: NamedDependency[LimitsOf],
    body: RawBody,
) -> Done:
    """Remove the client, or the user with everything stored for them."""
    sent = bodies.decode(protocol.UNREGISTRATION, body)
    limits = limits_of("login", email_key(sent.email))
    request_id = observing.request_id()
    await unregistration.unregister(realm, server.passwords, limits, device, sent, request_id)
    return Done("User and data removed" if sent.delete_remote_data else "Client removed")


@post("/password/{realm_name:str}/forgotten", status_code=200)
async def password_forgotten(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    limits_of: NamedDependency[LimitsOf],
    body: RawBody,
) -> Done:
    """Mail a PIN; the answer is the same whether there is such a user or not."""
    begun = time.monotonic()
    email = bodies.decode(protocol.FORGOTTEN, body).email
    await resets.demand(realm, limits_of("forgotten", email_key(email)), email)
    server.mailer.wake(realm)
    await asyncio.sleep(begun + _PIN_SECONDS - time.monotonic())
    return Done("If the address is registered, a PIN is on its way to it")


@post("/password/{realm_name:str}/change", status_code=200)
async def password_change(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    limits_of: NamedDependency[LimitsOf],
    body: RawBody,
) -> Done:
    """Set a new password with the mailed PIN."""
    begun = time.monotonic()
    sent = bodies.decode(protocol.PASSWORD_CHANGE, body)
    try:
        await resets.change(realm, server.passwords, server.keys, limits_of("change", email_key(sent.email)), sent)
    except PinRejected:
        await asyncio.sleep(begun + _WRONG_PIN_SECONDS - time.monotonic())
        raise
    return Done("The password has been changed")


ROUTES = [register, login, refresh_token, unregister, password_forgotten, password_change]
