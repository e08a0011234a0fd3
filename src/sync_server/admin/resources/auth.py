"""`/auth`: signing in and out, and who one is."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from sync_server.accounts.protocol import email_key
from sync_server.accounts.roles import Role
from sync_server.accounts.routes import LimitsOf
from sync_server.admin import sessions
from sync_server.admin.envelope import Success
from sync_server.admin.errors import SignInRejected, Unauthenticated
from sync_server.admin.permissions import anybody, needs
from sync_server.admin.sessions import Admin
from sync_server.admin.tokens import ACCESS_SECONDS, AdminTokens, Session
from sync_server.errors import TooManyAttempts, UnknownRealm
from sync_server.realms import Realm, Realms
from sync_server.server import Server

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """An account of a realm with a role of `viewer` or more."""

    realm: Annotated[str, msgspec.Meta(min_length=1, max_length=63, examples=["default"])]
    email: Text
    password: Password


class Renewal(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class Tokens(msgspec.Struct):
    """The access token goes into `Authorization: Bearer …`; the refresh token is for `/auth/refresh`, once."""

    access_token: str
    refresh_token: str
    expires_in: int = ACCESS_SECONDS
    """Seconds."""
    token_type: str = "Bearer"  # noqa: S105 - no secret


class Me(msgspec.Struct):
    """Whose token it is. `role` is what they may do; an owner may do it in all realms, others in `realm`."""

    realm: str
    id: UUID
    email: str
    name: str
    language: str | None
    role: Role
    session_id: UUID


@post("/auth/login", status_code=200, opt=anybody(SignInRejected, UnknownRealm, TooManyAttempts), tags=["auth"])
async def login(
    server: NamedDependency[Server],
    realms: NamedDependency[Realms],
    tokens: NamedDependency[AdminTokens],
    limits_of: NamedDependency[LimitsOf],
    data: JSONBody[SignIn],
) -> Success[Tokens]:
    """Sign in: tokens for an address and a password."""
    realm = realms.named(data.realm)
    limits = limits_of("login", email_key(data.email))
    session = await sessions.sign_in(realm, server.passwords, limits, data.email, data.password)
    return _answer(tokens, session)


@post("/auth/refresh", status_code=200, opt=anybody(Unauthenticated), tags=["auth"])
async def refresh(
    server: NamedDependency[Server],
    realms: NamedDependency[Realms],
    tokens: NamedDependency[AdminTokens],
    data: JSONBody[Renewal],
) -> Success[Tokens]:
    """New tokens for a refresh token, which is good for one use."""
    session = tokens.read("refresh", data.refresh_token)
    realm = _realm_of(realms, session)
    await sessions.present(realm, session, server.config.owners_realm)
    return _answer(tokens, await sessions.renew(realm, session))


@post("/auth/logout", status_code=200, opt=needs(Role.VIEWER), tags=["auth"])
async def logout(realms: NamedDependency[Realms], admin: NamedDependency[Admin]) -> Success[None]:
    """Sign out: both tokens of the session are void from here on."""
    await realms.named(admin.realm).transact(lambda tx: sessions.sign_out(tx, admin))
    return Success(None)


@get("/auth/me", opt=needs(Role.VIEWER), tags=["auth"])
async def me(admin: NamedDependency[Admin]) -> Success[Me]:
    """Whose token it is, and what they may do."""
    return Success(
        Me(admin.realm, admin.user_id, admin.email, admin.name, admin.language, admin.role, admin.session_id)
    )


def _realm_of(realms: Realms, session: Session) -> Realm:
    try:
        return realms.named(session.realm)
    except UnknownRealm:
        raise Unauthenticated from None


def _answer(tokens: AdminTokens, session: Session) -> Success[Tokens]:
    return Success(Tokens(tokens.issue("access", session), tokens.issue("refresh", session)))


ROUTES = [login, refresh, logout, me]
