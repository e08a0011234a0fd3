"""What answers tell browsers: which pages may read them, and what must not be done with them."""

from __future__ import annotations

from collections.abc import Sequence

from litestar.types import HTTPScope

Header = tuple[bytes, bytes]

_ALL: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),  # tokens, and other people's rows
]
_PATHS = "/api"
"""Where what browsers show and what they are logged in to begins; the wire protocol has no such path."""
_PAGES: list[Header] = [
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_SCRIPTLESS = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_OWN_SCRIPTS = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_DOCUMENTS = (b"content-security-policy", _OWN_SCRIPTS)
_ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")


def headers(scope: HTTPScope, given: Sequence[Header]) -> list[Header]:
    """What an answer to this request has besides the headers that are `given`."""
    path = scope["path"]
    if not path.startswith(_PATHS):
        return _ALL
    wanted = [*_ALL, *_PAGES, _DOCUMENTS if path.startswith("/api-docs") else _SCRIPTLESS]
    if scope["scheme"] == "https":  # as the trusted proxy says
        wanted.append(_ONLY_TLS)
    names = {name.lower() for name, _ in given}
    return [header for header in wanted if header[0] not in names]
