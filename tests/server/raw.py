"""A connection to a server, byte by byte."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any

from server.calls import credentials


class Raw:
    """A TCP connection that sends what it is told, and reads when it is told."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(30)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise

    def send(self, data: bytes) -> Raw:
        self.socket.sendall(data)
        return self

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer, which must say how long it is."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._some()
        head, _, body = head.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        while len(body) < int(headers["content-length"]):
            body += self._some()
        return int(first.split()[1]), headers, body

    def json(self) -> tuple[int, Any]:
        status, _, body = self.answer()
        return status, json.loads(body)

    def until_closed(self) -> bytes:
        """Everything that still comes, until the server closes."""
        read = b""
        with suppress(ConnectionResetError):
            while data := self.socket.recv(1 << 16):
                read += data
        return read

    def drips(self, data: bytes, pieces: int, pause: float) -> None:
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            self.send(data[start : start + size])
            time.sleep(pause)

    def _some(self) -> bytes:
        data = self.socket.recv(1 << 16)
        assert data, "the server closed the connection without an answer"
        return data

    def close(self) -> None:
        self.socket.close()


def request(path: str, body: Any, *headers: str) -> bytes:
    """A whole POST request."""
    data = json.dumps(body).encode()
    return head(path, f"Content-Length: {len(data)}", *headers) + data


def head(path: str, *headers: str) -> bytes:
    """A POST request's line and headers."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/json", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


GREETING = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
REGISTRATION = request("/register/default", credentials())
