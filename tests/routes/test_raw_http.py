"""What comes down the wire that is no request of any client: refused or closed, and the server goes on."""

from __future__ import annotations

import socket

import pytest

from conftest import Server
from routes.calls import Http

HEAD = b"Host: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
POST = b"POST /pull/main HTTP/1.1\r\n" + HEAD
UPGRADE = b"Host: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"

REFUSED = {
    "raw bytes in the path": b"POST /pull/\xff HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}",
    "raw bytes in the query": b"POST /pull/main?\xff HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}",
    "two ways to tell the length": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a length beyond all numbers": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "a chunk without a length": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond all lengths": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n{}",
    "a NUL in a header": b"GET / HTTP/1.1\r\nX: a\x00b\r\n" + HEAD + b"\r\n",
    "no such method": b"FOO / HTTP/1.1\r\n" + HEAD + b"\r\n",
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an upgrade of a route": b"GET /pull/main HTTP/1.1\r\n" + UPGRADE + b"\r\n",
}


def exchange(server: Server, request: bytes, *, half: bool = False) -> bytes:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        if half:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


@pytest.mark.parametrize("request_", REFUSED)
def test_what_is_no_request_is_refused(server: Server, http: Http, request_: str) -> None:
    assert exchange(server, REFUSED[request_]).startswith(b"HTTP/1.1 4")
    assert http.client.get("/").status_code == 200


def test_a_request_that_ends_in_the_middle_is_let_go(server: Server, http: Http) -> None:
    for request in (POST + b"Content-Length: 20\r\n\r\n{}", POST, b"POST /pu", b""):
        assert exchange(server, request, half=True) == b""
    assert http.client.get("/").status_code == 200


def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    request = POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"
    assert exchange(server, request).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 ")


def test_an_upgrade_is_not_taken_up(server: Server) -> None:
    assert exchange(server, b"GET / HTTP/1.0\r\n" + UPGRADE + b"\r\n").startswith(b"HTTP/1.1 200 ")
