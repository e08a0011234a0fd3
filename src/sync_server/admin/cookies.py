"""Sessions of browsers: tokens in cookies that no script reads, and a token in a header that no other page can set."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from uuid import UUID

from litestar.datastructures import Cookie

from sync_server.admin.errors import CsrfRejected
from sync_server.admin.narrow import ACCESS, CSRF, REFRESH
from sync_server.admin.tokens import ACCESS_SECONDS, REFRESH_SECONDS
from sync_server.keys import Keys

HEADER = "X-CSRF-Token"
_PATHS = {ACCESS: "/api/v1", REFRESH: "/api/v1/auth", CSRF: "/"}
_SECONDS = {ACCESS: ACCESS_SECONDS, REFRESH: REFRESH_SECONDS, CSRF: REFRESH_SECONDS}
_SAFE = frozenset({"GET", "HEAD"})


def csrf_token(keys: Keys, session_id: UUID) -> str:
    """What a page of ours sends as X-CSRF-Token; it belongs to the session."""
    return keys.digest("csrf", str(session_id)).hex()[:32]


def check(keys: Keys, session_id: UUID, method: str, headers: Mapping[str, str]) -> None:
    """Raises CsrfRejected for a call that changes something and that another page may have made."""
    sent = headers.get(HEADER.lower(), "")
    if method not in _SAFE and not hmac.compare_digest(csrf_token(keys, session_id).encode(), sent.encode()):
        raise CsrfRejected


def given(access: str, refresh: str, csrf: str) -> list[Cookie]:
    """The cookies of a session."""
    return [_cookie(ACCESS, access), _cookie(REFRESH, refresh), _cookie(CSRF, csrf)]


def taken_back() -> list[Cookie]:
    """What removes them from the browser."""
    return [_cookie(name, "", 0) for name in _PATHS]


def _cookie(name: str, value: str, seconds: int | None = None) -> Cookie:
    return Cookie(
        name,
        path=_PATHS[name],
        value=value,
        max_age=_SECONDS[name] if seconds is None else seconds,
        secure=True,
        httponly=name != CSRF,  # which pages read when they are loaded anew
        samesite="strict",
    )
