"""The part of a URL after the question mark: a misspelt filter is refused, as it would show more than was asked for."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute

from sync_server.admin.errors import Invalid

_TAKES = "takes"


def note(app: Litestar) -> None:
    """Write down in each route's `opt` what it takes."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler, model in route.route_handler_map.values():
                handler.opt[_TAKES] = {parameter.field_alias for parameter in model.expected_query_params}


async def are_known(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard. Raises Invalid for what the route does not take, or takes once and got twice."""
    sent = connection.query_params
    wrong = dict.fromkeys(sent.keys() - handler.opt[_TAKES], "There is no such parameter")
    wrong |= {key: "Expected once" for key in sent if len(sent.getall(key)) > 1}
    if wrong:
        raise Invalid(fields=wrong)
