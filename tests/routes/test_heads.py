"""The head of a request is bounded: it is not collected without end."""

from __future__ import annotations

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
    with Peak(process_id) as peak, socket.create_connection((host, int(port)), timeout=10) as connection:
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
