"""The admin API as an application of its own: no call of a device passes through any of it."""

from __future__ import annotations

from typing import NamedTuple

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig

from sync_server.admin import description, errors, queries
from sync_server.admin.dependencies import provided
from sync_server.admin.description import Description
from sync_server.admin.permissions import Guard
from sync_server.admin.resources import (
    api_docs,
    audit_logs,
    auth,
    clients,
    kept_aside,
    overridden,
    own_sessions,
    restoring,
    rows,
    second_factor,
    stats,
    takeout,
    user_actions,
    users,
)
from sync_server.admin.resources import realms as realms_resource
from sync_server.admin.tokens import AdminTokens
from sync_server.realms import Realms
from sync_server.receiving import Receiving
from sync_server.server import Server

PATH = "/api/v1"
RESOURCES = [
    auth,
    own_sessions,
    second_factor,
    realms_resource,
    users,
    user_actions,
    takeout,
    clients,
    rows,
    restoring,
    overridden,
    kept_aside,
    audit_logs,
    stats,
]


class Made(NamedTuple):
    """The application for all paths below /api, and what its documentation is made of."""

    app: Litestar
    described: Description


def create(server: Server, realms: Realms, receiving: Receiving) -> Made:
    """Opens nothing."""
    described = Description(lambda: _create(server, realms, receiving, None, description.CONFIG))
    app = _create(server, realms, receiving, described, None)
    queries.note(app)
    return Made(app, described)


def _create(
    server: Server,
    realms: Realms,
    receiving: Receiving,
    described: Description | None,
    openapi_config: OpenAPIConfig | None,
) -> Litestar:
    config, tokens = server.config, AdminTokens(server.keys)
    routes = [route for resource in RESOURCES for route in resource.ROUTES]
    return Litestar(
        route_handlers=[Router(PATH, route_handlers=routes), *api_docs.ROUTES],
        guards=[Guard(server, realms, tokens), queries.are_known],
        dependencies={
            **provided(server, realms, tokens),
            "description": Provide(lambda: described, sync_to_thread=False),
        },
        middleware=[receiving],
        exception_handlers=errors.HANDLERS,
        cors_config=_cors(config.admin.origins),
        request_max_body_size=None,  # Receiving limits it
        openapi_config=openapi_config,
        logging_config=None,
    )


_TOLD = ["Content-Disposition", "ETag", "Idempotency-Replayed", "Location", "Retry-After", "X-Request-ID"]
"""Headers of answers that pages of other origins may read."""


def _cors(origins: tuple[str, ...]) -> CORSConfig | None:
    if not origins:
        return None
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "Idempotency-Key", "X-CSRF-Token", "X-Request-ID"],
        expose_headers=_TOLD,
        allow_credentials=True,
        max_age=600,
    )
