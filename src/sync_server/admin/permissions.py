"""What a route needs. It stands beside the route, as `opt=needs(Role.ADMIN)`, and is checked before anything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from sync_server import observing
from sync_server.accounts.roles import Role
from sync_server.admin import cookies, narrow, sessions
from sync_server.admin.errors import Forbidden, Unauthenticated
from sync_server.admin.sessions import Admin
from sync_server.admin.share import Shares
from sync_server.admin.tokens import AdminTokens, Session
from sync_server.errors import Refusal, UnknownRealm
from sync_server.realms import Realms
from sync_server.server import Server

_NEEDS, _REFUSES, _GIVES = "needs", "refuses", "gives"
Connection = ASGIConnection[Any, Any, Any, Any]


def needs(role: Role, *refuses: type[Refusal]) -> dict[str, Any]:
    """`opt` of a route for those who have `role` or more; where its path names a realm, in that realm.

    `refuses`: what its rules raise besides what every route does, for the documentation.
    """
    return {_NEEDS: role, _REFUSES: refuses}


def gives(opt: dict[str, Any], *media_types: str) -> dict[str, Any]:
    """`opt` of a route whose answer is no envelope but text of these media types."""
    return {**opt, _GIVES: media_types}


def anybody(*refuses: type[Refusal]) -> dict[str, Any]:
    """`opt` of a route that needs no token."""
    return {_NEEDS: None, _REFUSES: refuses}


class Guard:
    """Puts `admin`, and `realm` where the path names one, into the state of a request whose sender may make it."""

    def __init__(self, server: Server, realms: Realms, tokens: AdminTokens) -> None:
        self._config = server.config
        self._keys = server.keys
        self._realms = realms
        self._tokens = tokens
        self._shares = Shares(realms.budget.size)

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raises Unauthenticated, Forbidden, UnknownRealm, Unavailable. A route that says nothing is an error."""
        if connection.scope["method"] == "OPTIONS":  # type: ignore[typeddict-item]
            return  # Litestar's own answer: which methods there are
        needed: Role | None = handler.opt[_NEEDS]
        if needed is None:
            return
        admin = await self._admin(connection)
        call = observing.present()
        call.user, call.realm = admin.user_id, admin.realm
        if not admin.role.covers(needed):
            raise Forbidden(needed=str(needed))
        name = connection.path_params.get("realm_name")
        if name is not None:
            if not admin.is_owner and name.lower() != admin.realm:
                raise Forbidden("You have a role in your own realm only")
            realm = self._realms.named(name)
            connection.state.realm = self._shares.of(realm, admin.user_id)
            call.realm = realm.name
        connection.state.admin = admin

    async def _admin(self, connection: Connection) -> Admin:
        session = self._session(connection)
        try:
            realm = self._realms.named(session.realm)
        except UnknownRealm:
            raise Unauthenticated from None
        return await sessions.present(realm, session, self._config.owners_realm)

    def _session(self, connection: Connection) -> Session:
        """Of the bearer token; else of the cookie, where it was no other page that made the browser call."""
        if authorization := connection.headers.get("authorization"):
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthenticated
            return self._tokens.read("access", token.strip())
        session = self._tokens.read("access", connection.cookies.get(narrow.ACCESS, ""))
        cookies.check(self._keys, session.session_id, connection.scope["method"], connection.headers)  # type: ignore[typeddict-item]
        return session


def table(app: Litestar) -> dict[tuple[str, str], Role | None]:
    """What every route needs, by method and path; None: nothing."""
    return {route: each.needs for route, each in declared(app).items()}


class Declared(NamedTuple):
    """What stands beside a route."""

    needs: Role | None
    refuses: tuple[type[Refusal], ...]
    gives: tuple[str, ...]
    """Media types; empty: an envelope."""


def declared(app: Litestar) -> dict[tuple[str, str], Declared]:
    """By method and path."""
    return {
        route: Declared(handler.opt[_NEEDS], handler.opt[_REFUSES], handler.opt.get(_GIVES, ()))
        for route, handler in _handlers(app)
    }


def _handlers(app: Litestar) -> Iterator[tuple[tuple[str, str], HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods:
                if method != "OPTIONS" and _NEEDS in handler.opt:  # else Litestar's own
                    yield (method, route.path_format), handler
