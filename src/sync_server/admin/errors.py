"""The refusals of the admin API, and how every refusal becomes its answer."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from sync_server import observing
from sync_server.admin.envelope import Failure, Problem
from sync_server.answers import note_fault
from sync_server.errors import InvalidBody, MalformedBody, Refusal, TokenRejected

_IN_BODY = "`$.data"
_NAMED = re.compile(r"(?:required|unknown) field `(.+?)`")


class ApiError(Refusal):
    """A refusal with `details` for programs."""

    def __init__(self, message: str | None = None, *, retry_after: int | None = None, **details: object) -> None:
        super().__init__(message, retry_after=retry_after)
        self.details = details


class InvalidCursor(ApiError):
    status = 400
    code = "invalid_cursor"
    message = "The cursor is not one of this list with these filters; begin with the first page"


class Unauthenticated(ApiError):
    status = 401
    code = "unauthenticated"
    message = "Sign in first: there is no valid token"


class SignInRejected(ApiError):
    """One message for whatever is wrong: the address, the password, or a role that has no business here."""

    status = 401
    code = "sign_in_rejected"
    message = "Wrong email or password, or an account without access"


class TooSlow(ApiError):
    """The database would take longer for the answer than anybody may take it from the devices."""

    status = 503
    code = "too_slow"
    message = "It takes too long to find that; ask for less, by user, table or date"


class CodeNeeded(ApiError):
    status = 401
    code = "code_needed"
    message = "The password is right; a code of the authenticator app is needed, too"


class PasswordRejected(ApiError):
    status = 403
    code = "password_rejected"
    message = "The password is wrong"


class CodeRejected(ApiError):
    status = 403
    code = "code_rejected"
    message = "The code is wrong, or has been used"


class CsrfRejected(ApiError):
    """A call with cookies alone may be another page's."""

    status = 403
    code = "csrf_rejected"
    message = "The header X-CSRF-Token is missing or wrong"


class SecondFactorOn(ApiError):
    status = 409
    code = "second_factor_on"
    message = "There is a second factor already; remove it first"


class Forbidden(ApiError):
    status = 403
    code = "forbidden"
    message = "Your role does not allow that"


class NotThere(ApiError):
    """`code` is the resource's: user_not_found and the like."""

    status = 404
    code = "not_found"
    message = "There is no such thing"


class SessionNotFound(ApiError):
    status = 404
    code = "session_not_found"
    message = "You have no such session, or it has ended"


class OwnAccount(ApiError):
    """Or the last owner could lock everybody out."""

    status = 409
    code = "own_account"
    message = "Somebody else has to do that to your own account"


class ChangedMeanwhile(ApiError):
    status = 412
    code = "changed_meanwhile"
    message = "It has changed since you looked at it; look again"


class PreconditionRequired(ApiError):
    status = 428
    code = "precondition_required"
    message = "Say with If-Match which version you mean to change: the ETag that came with it"


class KeyReused(ApiError):
    status = 422
    code = "idempotency_key_reused"
    message = "This Idempotency-Key came with another body before"


class Invalid(ApiError):
    """`details.fields` says what is wrong with which field."""

    status = 422
    code = "invalid"
    message = "Some fields are not as they should be"


def answer(
    status: int, code: str, message: str, details: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Response[Failure]:
    """The one form of a refusal."""
    return Response(Failure(Problem(code, message, details or {})), status_code=status, headers=headers)


def _on_refusal(_: Request[Any, Any, Any], refusal: Refusal) -> Response[Failure]:
    observing.present().error = refusal.code
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else None
    details = dict(refusal.details) if isinstance(refusal, ApiError) else {}
    if refusal.limit is not None:
        details["limit"] = msgspec.structs.asdict(refusal.limit)
    status = HTTPStatus.UNAUTHORIZED if isinstance(refusal, TokenRejected) else refusal.status
    if status == HTTPStatus.UNAUTHORIZED:
        headers = {**(headers or {}), "WWW-Authenticate": "Bearer"}
    return answer(status, refusal.code, refusal.message, details, headers)


def _on_invalid_body(request: Request[Any, Any, Any], refusal: InvalidBody) -> Response[Failure]:
    """The rules name the field at the end of their message, as msgspec does."""
    message, _, path = refusal.message.partition(" - at `")
    return _on_refusal(request, Invalid(fields={path.strip("`").removeprefix("$.") or "body": message}))


def _on_recursion(request: Request[Any, Any, Any], _: RecursionError) -> Response[Failure]:
    """Nothing here calls itself but what decodes bodies."""
    return _on_refusal(request, MalformedBody("The body is nested too deeply"))


def _on_validation(request: Request[Any, Any, Any], exc: ValidationException) -> Response[Failure]:
    """Litestar names each field with a message that quotes the type, not the value."""
    extra = exc.extra if isinstance(exc.extra, list) else []
    found = [(str(each.get("key", "data")), str(each.get("message", ""))) for each in extra if isinstance(each, dict)]
    return _on_refusal(request, Invalid(fields=dict(_field(*each) for each in found)))


def _field(key: str, message: str) -> tuple[str, str]:
    """Of a field that is missing or too much msgspec names the object that it belongs to."""
    named = _NAMED.search(message)
    if named is not None:
        key = named[1] if key == "data" else f"{key}.{named[1]}"
    return ("body" if key == "data" else key), message


def _on_http_exception(request: Request[Any, Any, Any], exc: HTTPException) -> Response[Failure]:
    """Litestar's own refusals. Their details may tell of the inside, so they stay here."""
    status = HTTPStatus(exc.status_code)
    cause = exc.__cause__
    if isinstance(cause, msgspec.ValidationError) and _IN_BODY in str(cause):
        # Litestar takes a field that is named as a dependency for that, and what is wrong with it for a fault of ours
        return _on_invalid_body(request, InvalidBody(str(cause).replace(_IN_BODY, "`$")))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _on_fault(request, exc)
    code = "malformed_body" if status == HTTPStatus.BAD_REQUEST else status.phrase.lower().replace(" ", "_")
    message = "The body is not valid JSON" if status == HTTPStatus.BAD_REQUEST else status.phrase
    return answer(status, code, message, headers=dict(exc.headers or {}))


def _on_fault(request: Request[Any, Any, Any], exc: Exception) -> Response[Failure]:
    return answer(500, *note_fault(request, exc))


HANDLERS: ExceptionHandlersMap = {
    Refusal: _on_refusal,
    InvalidBody: _on_invalid_body,
    RecursionError: _on_recursion,
    ValidationException: _on_validation,
    HTTPException: _on_http_exception,
    Exception: _on_fault,
}
