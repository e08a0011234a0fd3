"""What the tests of logs, health and metrics have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Server
from routes.conftest import http
from server.operating import wait_for
from sync.conftest import connections, new_user, stranger, user, wire

__all__ = ["connections", "http", "new_user", "stranger", "user", "wire"]

Line = dict[str, Any]


def lines_in(log: str) -> list[Line]:
    """What is logged of requests."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == "request"]


@pytest.fixture
def line_of(server: Server) -> Callable[[str], Line]:
    """The line of the request of this id."""

    def line(request_id: str) -> Line:
        assert server.process is not None
        process = server.process
        found = wait_for(lambda: [line for line in lines_in(process.log) if line["request_id"] == request_id])
        assert len(found) == 1
        return found[0]

    return line
