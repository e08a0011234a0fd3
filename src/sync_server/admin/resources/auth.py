"""`/auth`: signing in and out, and who one is."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from sync_server.accounts.protocol import email_key
from sync_server.accounts.roles import Role
from sync_server.accounts.routes import LimitsOf
from sync_server.admin import cookies, narrow, own_sessions, sessions, totp
from sync_server.admin.dependencies import acting_of
from sync_server.admin.envelope import Success
from sync_server.admin.errors import CodeNeeded, CsrfRejected, SignInRejected, Unauthenticated
from sync_server.admin.permissions import anybody, needs
from sync_server.admin.sessions import Admin
from sync_server.admin.tokens import ACCESS_SECONDS, AdminTokens, Session
from sync_server.audit import Acting
from sync_server.errors import TooManyAttempts, UnknownRealm
from sync_server.realms import Realm, Realms
from sync_server.server import Server

_PROGRAM = 255
"""Characters that are kept of what a program calls itself."""
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """An account of a realm with a role of `viewer` or more."""

    realm: Annotated[str, msgspec.Meta(min_length=1, max_length=63, examples=["default"])]
    email: Text
    password: Password
    code: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    """Of the authenticator app, or a recovery code, where the account has a second factor."""
    cookies: bool = False
    """For pages: put the tokens into cookies that no script can read."""


class Renewal(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[str, msgspec.Meta(max_length=4000)] | None = None
    """Left out where it is in a cookie."""


class Tokens(msgspec.Struct):
    """The access token goes into `Authorization: Bearer …`; the refresh token is for `/auth/refresh`, once.

    Both are null where they are in cookies; `csrf_token` then goes into `X-CSRF-Token` of all calls that change something.
    """

    access_token: str | None
    refresh_token: str | None
    csrf_token: str | None
    expires_in: int = ACCESS_SECONDS
    """Seconds."""
    token_type: str = "Bearer"  # noqa: S105 - no secret


class Csrf(msgspec.Struct):
    """What goes into `X-CSRF-Token`, as long as the session lasts."""

    csrf_token: str


class Me(msgspec.Struct):
    """Whose token it is. `role` is what they may do; an owner may do it in all realms, others in `realm`."""

    realm: str
    id: UUID
    email: str
    name: str
    language: str | None
    role: Role
    session_id: UUID
    second_factor: bool
    """Whether signing in takes a code."""


@post(
    "/auth/login",
    status_code=200,
    opt=anybody(SignInRejected, CodeNeeded, UnknownRealm, TooManyAttempts),
    tags=["auth"],
)
async def login(
    server: NamedDependency[Server],
    request: Request[Any, Any, Any],
    realms: NamedDependency[Realms],
    tokens: NamedDependency[AdminTokens],
    limits_of: NamedDependency[LimitsOf],
    address: NamedDependency[str | None],
    data: JSONBody[SignIn],
) -> Response[Success[Tokens]]:
    """Sign in: tokens for an address and a password."""
    realm = realms.named(data.realm)
    account = email_key(data.email)
    limits, of_codes = limits_of("login", account), limits_of("code", account)
    origin = sessions.Origin(address, request.headers.get("user-agent", "")[:_PROGRAM] or None)
    given = sessions.Credentials(data.email, data.password, data.code)
    session = await sessions.sign_in(realm, server, limits, of_codes, given, origin)
    return _answer(server, tokens, session, in_cookies=data.cookies)


@post("/auth/refresh", status_code=200, opt=anybody(Unauthenticated, CsrfRejected), tags=["auth"])
async def refresh(
    request: Request[Any, Any, Any],
    server: NamedDependency[Server],
    realms: NamedDependency[Realms],
    tokens: NamedDependency[AdminTokens],
    address: NamedDependency[str | None],
    data: JSONBody[Renewal],
) -> Response[Success[Tokens]]:
    """New tokens for a refresh token, which is good for one use.

    One in a cookie takes `X-CSRF-Token`, and `{}` as the body.
    """
    in_cookie = request.cookies.get(narrow.REFRESH, "") if data.refresh_token is None else ""
    session = tokens.read("refresh", data.refresh_token or in_cookie)
    if in_cookie:
        cookies.check(server.keys, session.session_id, request.method, request.headers)
    realm = _realm_of(realms, session)
    admin = await sessions.present(realm, session, server.config.owners_realm)
    renewed = await sessions.renew(realm, session, acting_of(admin, address))
    return _answer(server, tokens, renewed, in_cookies=bool(in_cookie))


@get("/auth/csrf", opt=anybody(Unauthenticated), tags=["auth"])
async def csrf(
    request: Request[Any, Any, Any], server: NamedDependency[Server], tokens: NamedDependency[AdminTokens]
) -> Success[Csrf]:
    """The `csrf_token` of the session that is in the cookies: for a page that was loaded anew, and cannot read the cookie
    `sync_csrf` as it comes from another name. Good also for renewing a session whose access token has expired.
    """
    session = tokens.read("refresh", request.cookies.get(narrow.REFRESH, ""))
    return Success(Csrf(cookies.csrf_token(server.keys, session.session_id)))


@post("/auth/logout", status_code=200, opt=needs(Role.VIEWER), tags=["auth"])
async def logout(
    realms: NamedDependency[Realms], admin: NamedDependency[Admin], acting: NamedDependency[Acting]
) -> Response[Success[None]]:
    """Sign out: the tokens of the session are void from here on."""
    await realms.named(admin.realm).transact(lambda tx: own_sessions.end(tx, admin, acting, admin.session_id))
    return Response(Success(None), cookies=cookies.taken_back())


@get("/auth/me", opt=needs(Role.VIEWER), tags=["auth"])
async def me(realms: NamedDependency[Realms], admin: NamedDependency[Admin]) -> Success[Me]:
    """Whose token it is, and what they may do."""
    second = await realms.named(admin.realm).read(lambda tx: totp.is_on(tx, admin.user_id))
    person = (admin.realm, admin.user_id, admin.email, admin.name, admin.language, admin.role)
    return Success(Me(*person, admin.session_id, second))


def _realm_of(realms: Realms, session: Session) -> Realm:
    try:
        return realms.named(session.realm)
    except UnknownRealm:
        raise Unauthenticated from None


def _answer(server: Server, tokens: AdminTokens, session: Session, *, in_cookies: bool) -> Response[Success[Tokens]]:
    access, renewing = tokens.issue("access", session), tokens.issue("refresh", session)
    if not in_cookies:
        return Response(Success(Tokens(access, renewing, None)), status_code=200)
    csrf = cookies.csrf_token(server.keys, session.session_id)
    made = cookies.given(access, renewing, csrf)
    return Response(Success(Tokens(None, None, csrf)), status_code=200, cookies=made)


ROUTES = [login, refresh, csrf, logout, me]
