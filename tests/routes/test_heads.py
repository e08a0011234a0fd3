"""The head of a request is bounded: it is not collected without end."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from conftest import Server
from routes.test_body_sizes import Peak, needs_proc, process_id
from routes.test_raw_http import REFUSED, exchange

__all__ = ["process_id"]
MIB = 1024 * 1024


@needs_proc
@pytest.mark.parametrize("piece", [b"a" * MIB, (b"X: " + b"a" * 1000 + b"\r\n") * 1000])
def test_a_head_without_end_is_not_kept(server: Server, process_id: int, piece: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with Peak(process_id) as peak, socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(piece * 100)
    assert peak.bytes < 20 * MIB


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "an upgrade of a route"])
def test_what_is_no_http_is_refused_in_the_agreed_form(server: Server, name: str) -> None:
    head, _, body = exchange(server, REFUSED[name]).partition(b"\r\n\r\n")
    assert b"access-control-allow-origin: *" in head.lower()
    answer = json.loads(body)
    assert answer.keys() == {"code", "error", "message"}
    assert answer["code"] == int(head.split()[1]) == 400


def head(size: int) -> bytes:
    """A request without a body, of so many bytes."""
    start = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    lines, rest = divmod(size - len(start) - 2, 1000)
    return start + (b"X: " + b"a" * 995 + b"\r\n") * (lines - 1) + b"X: " + b"a" * (995 + rest) + b"\r\n\r\n"


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 200), (64 * 1024 + 1, 400), (100_000, 400), (250_000, 400)])
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_head_is_as_long_as_it_may_be_however_it_arrives(server: Server, size: int, status: int, pieces: int) -> None:
    """What came in one piece was looked at when it had been taken apart, and then often was no head any more."""
    sent = head(size)
    assert len(sent) == size
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
        try:
            for start in range(0, size, -(-size // pieces)):
                connection.sendall(sent[start : start - (-size // pieces)])
            answer = connection.recv(1000)
        except (BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            answer = b"HTTP/1.1 400"
    assert answer.startswith(b"HTTP/1.1 %d" % status)


@needs_proc
def test_requests_that_come_at_once_are_not_queued_without_end(server: Server, process_id: int) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with Peak(process_id) as peak, contextlib.ExitStack() as connections:
        for _ in range(10):
            connection = connections.enter_context(socket.create_connection((host, int(port)), timeout=60))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request * (200 * 1024 // len(request)))
                while connection.recv(MIB):
                    pass
    assert peak.bytes < 10 * MIB


def test_a_few_may_come_at_once(server: Server) -> None:
    request, last = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert exchange(server, request * 15 + last).count(b"HTTP/1.1 200") == 16
