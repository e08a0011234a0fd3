"""The admin API as an application of its own: no call of a device passes through any of it."""

from __future__ import annotations

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig

from sync_server.admin import errors, queries
from sync_server.admin.dependencies import provided
from sync_server.admin.permissions import Guard
from sync_server.admin.resources import auth, clients, overridden, rows, users
from sync_server.admin.resources import realms as realms_resource
from sync_server.admin.tokens import AdminTokens
from sync_server.realms import Realms
from sync_server.receiving import Receiving
from sync_server.server import Server

PATH = "/api/v1"
RESOURCES = [auth, realms_resource, users, clients, rows, overridden]


def create(server: Server, realms: Realms, receiving: Receiving) -> Litestar:
    """The application for all paths below /api. Opens nothing."""
    config, tokens = server.config, AdminTokens(server.keys)
    routes = [route for resource in RESOURCES for route in resource.ROUTES]
    app = Litestar(
        route_handlers=[Router(PATH, route_handlers=routes)],
        guards=[Guard(config, realms, tokens), queries.are_known],
        dependencies=provided(server, realms, tokens),
        middleware=[receiving],
        exception_handlers=errors.HANDLERS,
        cors_config=_cors(config.admin.origins),
        request_max_body_size=None,  # Receiving limits it
        openapi_config=None,
        logging_config=None,
    )
    queries.note(app)
    return app


def _cors(origins: tuple[str, ...]) -> CORSConfig | None:
    if not origins:
        return None
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "Idempotency-Key", "X-CSRF-Token", "X-Request-ID"],
        expose_headers=["ETag", "Location", "Retry-After", "X-Request-ID"],
        allow_credentials=True,
        max_age=600,
    )
