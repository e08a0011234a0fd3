"""What machines that watch the server ask: /health and /metrics. No realm can be in the way of these paths."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from litestar import MediaType, Request, Response, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException

from sync_server.errors import ScrapeRejected
from sync_server.health import Health
from sync_server.observing.monitoring import Monitoring

_READ = ["GET", "HEAD"]
_UNAVAILABLE = 503


@route("/health/live", http_method=_READ)  # type: ignore[arg-type] # methods, as strings
async def live() -> dict[str, str]:
    """Whether the process answers. It asks no database: restarting the server mends none."""
    return {"status": "up"}


@route("/health/ready", http_method=_READ)  # type: ignore[arg-type]
async def ready(request: Request[Any, Any, Any], monitoring: NamedDependency[Monitoring]) -> Response[dict[str, Any]]:
    """Whether requests should be sent here: 200, or 503 where no realm can be served."""
    return await _health(request, monitoring)


@route("/health", http_method=_READ)  # type: ignore[arg-type]
async def health(request: Request[Any, Any, Any], monitoring: NamedDependency[Monitoring]) -> Response[dict[str, Any]]:
    """As /health/ready, for people."""
    return await _health(request, monitoring)


async def _health(request: Request[Any, Any, Any], monitoring: Monitoring) -> Response[dict[str, Any]]:
    found = await monitoring.checks.health()
    told: dict[str, Any] = {"status": found.status, "realms": found.realms}
    if monitoring.exposure.may_see(request.scope):
        told |= _details(found)
    status = _UNAVAILABLE if found.status == "down" else 200
    return Response(told, status_code=status, media_type=MediaType.JSON)


def _details(found: Health) -> dict[str, Any]:
    """For those who may know which realms there are."""
    return {"version": version("sync-server"), "of_realm": found.of_realm}


@route("/metrics", http_method=_READ)  # type: ignore[arg-type]
async def metrics(request: Request[Any, Any, Any], monitoring: NamedDependency[Monitoring]) -> Response[bytes]:
    """All metrics, for Prometheus."""
    if not monitoring.exposure.is_offered:
        raise NotFoundException
    if not monitoring.exposure.may_see(request.scope):
        raise ScrapeRejected
    text, media_type = await monitoring.metrics.text(request.headers.get("accept", ""))
    return Response(text, media_type=media_type)


ROUTES = [live, ready, health, metrics]
