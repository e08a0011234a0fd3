"""Updates of what one has seen: ETag and If-Match (RFC 9110, sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

import hashlib

import msgspec

from sync_server.admin.errors import ChangedMeanwhile, PreconditionRequired


def etag(*parts: object) -> str:
    """The ETag of something whose state is `parts`, as it stands in the header."""
    return f'"{hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]}"'


def check(if_match: str | None, present: str) -> None:
    """Raises PreconditionRequired without an If-Match, ChangedMeanwhile with one that names another state."""
    if if_match is None:
        raise PreconditionRequired
    if if_match.strip() != "*" and present not in (each.strip() for each in if_match.split(",")):
        raise ChangedMeanwhile
