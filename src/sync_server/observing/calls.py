"""The request that the present task answers, and what is told of it: to its line in the log, to the metrics, to audit."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from litestar.types import HTTPScope
    from opentelemetry.trace import Span

    from sync_server.accounts.tokens import Device

# no "@", no space, not as long as a token: what somebody else puts there by mistake stays out of our logs
_SANE = re.compile(rb"[A-Za-z0-9._:=-]{1,128}")
_PROCESS = secrets.token_hex(6)
_numbers = itertools.count(1)


class Call:
    """One request. Whoever learns something of it notes it here; nothing here is secret, nor of a row's content."""

    __slots__ = (
        "address",
        "aside",
        "begun",
        "bytes_in",
        "bytes_out",
        "claimed",
        "complete",
        "conflicts",
        "device",
        "error",
        "method",
        "realm",
        "request_id",
        "rows_in",
        "rows_out",
        "span",
        "status",
        "synced",
        "took",
        "user",
    )

    def __init__(self, request_id: str | None, method: str = "", address: str | None = None) -> None:
        self.request_id = request_id
        self.address = address
        """The caller's, for the audit log alone: no line of the log tells it."""
        self.begun = time.monotonic()
        self.method = method
        self.realm: str | None = None
        self.device: Device | None = None
        """Who calls, as far as it is proved."""
        self.user: UUID | None = None
        """Who calls the admin API."""
        self.claimed: UUID | None = None
        """The client that somebody said to be who did not prove it."""
        self.span: Span | None = None
        """Where requests are traced."""
        self.status = 0
        """0 before the answer begins."""
        self.error: str | None = None
        """The name of the refusal."""
        self.complete = False
        """Whether the answer has come to its end."""
        self.rows_in = 0
        self.rows_out = 0
        self.bytes_in = 0
        """Of the body, as sent."""
        self.bytes_out = 0
        self.conflicts = 0
        """Versions that lost and were kept."""
        self.aside = 0
        """Changes that were kept aside."""
        self.synced = False
        """Whether it ended a sync."""
        self.took: int | None = None
        """ms since the sync began that it is part of."""


_NOBODY = Call(None)
_present: ContextVar[Call] = ContextVar("call", default=_NOBODY)


def present() -> Call:
    """The request that this task answers; outside of one a Call that nobody reads."""
    return _present.get()


def request_id() -> str | None:
    """The id of the request that this task answers, as its answer and its line in the log have it; None outside of one."""
    return _present.get().request_id


def begin(scope: HTTPScope) -> Call:
    """A call for a request, which is the present one from now on. Its id is the request's own where it has a sane one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    known = given.decode() if given and _SANE.fullmatch(given) else f"{_PROCESS}-{next(_numbers):06x}"
    client = scope.get("client")
    call = Call(known, scope["method"], client[0] if client else None)
    _present.set(call)
    return call
