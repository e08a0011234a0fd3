"""`/auth/totp`: the second factor of one's own account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from sync_server import audit
from sync_server.accounts.limits import Limits
from sync_server.accounts.protocol import email_key
from sync_server.accounts.roles import Role
from sync_server.accounts.routes import LimitsOf
from sync_server.accounts.tokens import new_id
from sync_server.admin import sessions, totp
from sync_server.admin.envelope import Success
from sync_server.admin.errors import CodeRejected, PasswordRejected, SecondFactorOn
from sync_server.admin.permissions import needs
from sync_server.admin.resources.auth import Password
from sync_server.admin.sessions import Admin
from sync_server.audit import Acting
from sync_server.database import Tx
from sync_server.errors import TooManyAttempts
from sync_server.realms import Realm, Realms
from sync_server.server import Server


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    """That it is really the account's owner."""

    password: Password


class Code(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=40, examples=["123456"])]


class Secret(msgspec.Struct):
    """For the authenticator app."""

    secret: str
    uri: str
    """As a QR code shows it."""


class RecoveryCodes(msgspec.Struct):
    """Each is good for one sign-in when the app is gone. They are shown this once."""

    recovery_codes: list[str]


@post(
    "/auth/totp",
    status_code=200,
    opt=needs(Role.VIEWER, PasswordRejected, TooManyAttempts, SecondFactorOn),
    tags=["auth"],
)
async def begin(
    server: NamedDependency[Server],
    realms: NamedDependency[Realms],
    admin: NamedDependency[Admin],
    limits_of: NamedDependency[LimitsOf],
    data: JSONBody[Confirmation],
) -> Success[Secret]:
    """Begin with a second factor: a secret for an authenticator app. Nothing changes until a code of it is confirmed.

    It takes the password: with a stolen session alone somebody could lock the owner out for good.
    """
    realm, nonce = realms.named(admin.realm), totp.new_nonce()
    limits = limits_of("login", email_key(admin.email))
    if not await sessions.knows_password(realm, server, limits, admin, data.password):
        raise PasswordRejected
    if not await realm.transact(lambda tx: totp.begin(tx, admin.user_id, nonce)):
        raise SecondFactorOn
    issuer = f"{realm.app_name} ({realm.name})"
    return Success(Secret(totp.secret(server.keys, nonce), totp.uri(server.keys, nonce, admin.email, issuer)))


_REFUSED = (CodeRejected, TooManyAttempts)


@post("/auth/totp/confirm", status_code=200, opt=needs(Role.VIEWER, *_REFUSED, SecondFactorOn), tags=["auth"])
async def confirm(
    server: NamedDependency[Server],
    realms: NamedDependency[Realms],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    limits_of: NamedDependency[LimitsOf],
    data: JSONBody[Code],
) -> Success[RecoveryCodes]:
    """Turn the second factor on with a code of the app: from now on signing in takes one."""
    realm, codes = realms.named(admin.realm), totp.new_recovery_codes()

    begun = False

    async def turn_on(tx: Tx) -> bool:
        nonlocal begun
        if await totp.is_on(tx, admin.user_id):
            if begun:  # the commit's answer was lost
                return True
            raise SecondFactorOn
        begun = True
        if not await totp.confirm(tx, server.keys, admin.user_id, data.code, codes):
            return False
        await audit.record(tx, acting, action="second_factor.on", entity="user", entity_id=admin.user_id)
        return True

    await _limited(realm, admin.user_id, limits_of("code", email_key(admin.email)), turn_on)
    return Success(RecoveryCodes(codes))


@post("/auth/totp/remove", status_code=200, opt=needs(Role.VIEWER, *_REFUSED), tags=["auth"])
async def remove(
    server: NamedDependency[Server],
    realms: NamedDependency[Realms],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    limits_of: NamedDependency[LimitsOf],
    data: JSONBody[Code],
) -> Success[None]:
    """Turn the second factor off, with a code of the app or a recovery code."""
    realm = realms.named(admin.realm)

    begun = False

    async def turn_off(tx: Tx) -> bool:
        nonlocal begun
        if begun and not await totp.is_on(tx, admin.user_id):
            return True  # the commit's answer was lost
        begun = True
        if not await totp.passes(tx, server.keys, admin.user_id, data.code):
            return False
        await totp.remove(tx, admin.user_id)
        await audit.record(tx, acting, action="second_factor.off", entity="user", entity_id=admin.user_id)
        return True

    await _limited(realm, admin.user_id, limits_of("code", email_key(admin.email)), turn_off)
    return Success(None)


async def _limited(realm: Realm, user_id: UUID, limits: Limits, work: Callable[[Tx], Awaitable[bool]]) -> None:
    """Raises CodeRejected where `work` says that the code was wrong, which counts; TooManyAttempts."""
    attempt = new_id()
    if not await realm.transact(lambda tx: totp.limited(tx, user_id, limits, attempt, work)):
        raise CodeRejected


ROUTES = [begin, confirm, remove]
