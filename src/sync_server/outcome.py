"""What the calls of a sync are answered, before it is an HTTP answer: two ways lead to them (direct.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from litestar import Response
from litestar.response import Stream

JSON = "application/json"


class Outcome(NamedTuple):
    """JSON, whole or in parts that are made while they are sent."""

    body: bytes | AsyncIterator[bytes]
    status: int = 200

    def response(self) -> Response[Any]:
        """For Litestar."""
        if isinstance(self.body, bytes):
            return Response(self.body, media_type=JSON, status_code=self.status)
        return Stream(self.body, media_type=JSON, status_code=self.status)
