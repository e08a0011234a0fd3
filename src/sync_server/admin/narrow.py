"""What of a request's head gets through to the framework, which keeps what it has parsed of queries and cookies, the latest
thousand of each, however large: anybody could fill the memory by sending large ones.
"""

from __future__ import annotations

from typing import cast

import msgspec
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, HTTPScope, Scope, Send

from sync_server.admin.envelope import Failure, Problem

ACCESS, REFRESH, CSRF = "sync_access", "sync_refresh", "sync_csrf"
"""Names of our cookies."""
_NAMES = {name.encode() for name in (ACCESS, REFRESH, CSRF)}
_MOST_OF_COOKIE = 4096
"""Bytes. Ours are tokens, of some hundred."""
_MOST_OF_QUERY = 16 * 1024
_MOST_PARAMETERS = 32
_TOO_LARGE = msgspec.json.encode(
    Failure(Problem("invalid", f"The query has more than {_MOST_PARAMETERS} parameters or {_MOST_OF_QUERY} bytes"))
)


def is_too_large(scope: Scope) -> bool:
    """Whether the query is larger than any that has a meaning."""
    query = cast("HTTPScope", scope)["query_string"]
    return len(query) > _MOST_OF_QUERY or query.count(b"&") >= _MOST_PARAMETERS


async def refuse(send: Send) -> None:
    """Answer a request whose query is too large."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_TOO_LARGE))]
    await send(HTTPResponseStartEvent(type="http.response.start", status=422, headers=headers))
    await send(HTTPResponseBodyEvent(type="http.response.body", body=_TOO_LARGE, more_body=False))


def with_own_cookies(scope: Scope) -> Scope:
    """The request with the cookies that are ours, as we write them: without quotes, which take long to take away."""
    headers = cast("HTTPScope", scope)["headers"]
    if not any(name == b"cookie" for name, _ in headers):
        return scope
    kept = [(name, value if name != b"cookie" else _own(value)) for name, value in headers]
    return cast("Scope", {**scope, "headers": kept})


def _own(cookies: bytes) -> bytes:
    pairs = (pair.strip() for pair in cookies.split(b";"))
    return b"; ".join(pair for pair in pairs if _is_ours(pair))


def _is_ours(pair: bytes) -> bool:
    name, _, value = pair.partition(b"=")
    return name in _NAMES and len(value) <= _MOST_OF_COOKIE and b'"' not in value and b"\\" not in value
