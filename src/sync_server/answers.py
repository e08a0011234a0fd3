"""How refusals and faults become answers. Apart from errors.py: commands need those, and not the framework for calls."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from sync_server import observing
from sync_server.errors import Refusal

log = structlog.get_logger()


def answer(
    status: int, error: str, message: str, headers: dict[str, str] | None = None, **further: object
) -> Response[dict[str, object]]:
    """The one form that an error takes on the wire."""
    content = {"code": status, "error": error, "message": message, **further}
    return Response(content, status_code=status, headers=headers)


def _on_refusal(_: Request[Any, Any, Any], refusal: Refusal) -> Response[dict[str, object]]:
    observing.present().error = refusal.code
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else None
    if refusal.limit is None:
        return answer(refusal.status, refusal.code, refusal.message, headers)
    limit = {"name": refusal.limit.name, "most": refusal.limit.most}
    realm = observing.present().realm  # not the path's, which may be anything
    log.warning("limit_met", limit=limit["name"], most=limit["most"], realm=realm, error=refusal.code)
    message = f"{refusal.message} (the limit {limit['name']} is {limit['most']})"
    return answer(refusal.status, refusal.code, message, headers, limit=limit)


def _on_http_exception(_: Request[Any, Any, Any], exc: HTTPException) -> Response[dict[str, object]]:
    """Litestar's own refusals: unknown paths, wrong methods. Their details may tell of the inside, so they stay here."""
    status = HTTPStatus(exc.status_code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _on_fault(_, exc)
    return answer(status, status.phrase.lower().replace(" ", "_"), status.phrase, dict(exc.headers or {}))


def _on_fault(request: Request[Any, Any, Any], exc: Exception) -> Response[dict[str, object]]:
    return answer(500, *note_fault(request, exc))


def note_fault(request: Request[Any, Any, Any], exc: Exception) -> tuple[str, str]:
    """A fault of the server: all of it to the log, and nothing of it in the name and sentence for the client."""
    call = observing.present()
    call.error = "internal_error"
    route = request.scope.get("path_template")
    log.error("fault", method=request.method, route=route, request_id=call.request_id, exc_info=exc)
    return call.error, "The server made a mistake; its operator finds the details in the log"


HANDLERS: ExceptionHandlersMap = {
    Refusal: _on_refusal,
    HTTPException: _on_http_exception,
    Exception: _on_fault,
}
