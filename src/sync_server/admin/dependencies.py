"""What the routes ask for by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Request
from litestar.di import NamedDependency, Provide

from sync_server import observing
from sync_server.accounts.limits import Limits
from sync_server.accounts.routes import LimitsOf
from sync_server.admin.pages import paging
from sync_server.admin.sessions import Admin
from sync_server.admin.tokens import AdminTokens
from sync_server.audit import Acting
from sync_server.realms import Realm, Realms
from sync_server.server import Server


def provided(server: Server, realms: Realms, tokens: AdminTokens) -> dict[str, Provide]:
    """The dependencies by their names."""

    def limits_of(request: Request[Any, Any, Any]) -> LimitsOf:
        address = request.client.host if request.client else ""
        return lambda action, account: Limits(
            server.keys, action, address=address, account=account, enabled=server.config.rate_limits
        )

    parts: dict[str, Callable[[], Any]] = {"server": lambda: server, "realms": lambda: realms, "tokens": lambda: tokens}
    found: dict[str, Callable[..., Any]] = {
        "admin": admin,
        "acting": acting,
        "address": address,
        "realm": realm,
        "limits_of": limits_of,
        "paging": paging,
    }
    return {
        **{name: Provide(part, sync_to_thread=False, use_cache=True) for name, part in parts.items()},
        **{name: Provide(part, sync_to_thread=False) for name, part in found.items()},
    }


def admin(request: Request[Any, Any, Any]) -> Admin:
    """Who acts. Only there where the route needs a role."""
    found: Admin = request.state.admin
    return found


def acting(request: Request[Any, Any, Any], admin: NamedDependency[Admin]) -> Acting:
    """Who acts, as the audit log tells it. Only there where the route needs a role."""
    return acting_of(admin, address(request))


def acting_of(admin: Admin, address: str | None) -> Acting:
    """The same for a route that finds out itself who acts."""
    return Acting(
        user_id=admin.user_id,
        realm=admin.realm,
        role=str(admin.role),
        address=address,
        request_id=observing.request_id(),
    )


def address(request: Request[Any, Any, Any]) -> str | None:
    """Where the call comes from."""
    return request.client.host if request.client else None


def realm(request: Request[Any, Any, Any]) -> Realm:
    """The realm of the path, in which `admin` has the role that the route needs."""
    found: Realm = request.state.realm
    return found
