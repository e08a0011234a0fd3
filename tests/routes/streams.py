"""Pulls that are read piece by piece: with a small receive buffer, so that the server has to wait for its reader."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from device import Device
from routes.calls import Http, bearer
from users import change

ROWS = 3000
ROW_BYTES = 6000
"""18 MB together: more than the buffers between the server and a client take."""
_PART = 1000


def random_text(size: int) -> str:
    """Text that does not get shorter by compression."""
    return base64.b64encode(os.urandom(size)).decode()[:size]


def fill(http: Http, device: Device, rows: list[tuple[str, str]]) -> None:
    """Push rows (guid, title) in one sync."""
    device.pull([], 0)
    path = f"/push/{device.realm}"
    for start in range(0, len(rows), _PART):
        changes = [change("I", guid, 1, {"title": title}) for guid, title in rows[start : start + _PART]]
        last = start + _PART >= len(rows)
        answer = http.post(path, device.body(changes, 0 if last else 1, 0), bearer(device))
        assert answer.status_code == 200, answer.text


@contextmanager
def slow_pull(url: str, device: Device, encoding: str = "identity") -> Iterator[httpx.Response]:
    """A pull of which nothing has been read yet."""
    narrow = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)])
    headers = {"Authorization": bearer(device), "Accept-Encoding": encoding}
    with httpx.Client(base_url=url, transport=narrow, timeout=60) as client:
        path = f"/pull/{device.realm}/{device.client_id}"
        with client.stream("POST", path, json=device.body([], 0, 0), headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["Transfer-Encoding"] == "chunked"
            assert answer.headers.get("Content-Encoding", "identity") == encoding
            yield answer


def read(answer: httpx.Response, text: bytearray | None = None) -> Any:
    """The rest of the answer, as JSON."""
    text = bytearray() if text is None else text
    for piece in answer.iter_bytes():
        text += piece
    return json.loads(text)
