"""Bodies over the limit, compressed or not, are refused before they cost much (G11)."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from conftest import Server
from device import Device
from routes.calls import CALLS, ORIGIN, Call, Http
from routes.conftest import MAX_BODY
from routes.refusals import refusal
from users import User

MIB = 1024 * 1024
HUGE = 512 * MIB


@pytest.fixture
def pull(user: User) -> Call:
    return CALLS["pull"](user.device())


@pytest.fixture
def process_id(server: Server) -> int:
    assert server.process is not None
    return server.process.process.pid


def of_size(size: int) -> bytes:
    """A pull's body of so many bytes."""
    empty = json.dumps({"lastSync": 0, "filling": ""}).encode()
    return empty.replace(b'""', b'"%b"' % (b"x" * (size - len(empty))))


def bomb(size: int, fill: bytes = b" ") -> bytes:
    """A gzip file that inflates to `size` bytes, made without ever holding them: one deflated MiB over and over."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(fill * MIB) + deflate.flush(zlib.Z_FULL_FLUSH)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return head + block * (size // MIB) + deflate.flush() + struct.pack("<II", 0, size % 2**32)


class Peak:
    """The most memory that a process has had since the beginning of the block, beyond what it had there; in bytes."""

    def __init__(self, process_id: int) -> None:
        self._process = Path(f"/proc/{process_id}")

    def __enter__(self) -> Self:
        (self._process / "clear_refs").write_text("5")  # the peak begins anew (proc(5))
        self._before = self._read("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


needs_proc = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="memory is read from /proc")


def in_pieces(body: bytes) -> Iterator[bytes]:
    """Sent without a Content-Length."""
    for start in range(0, len(body), 64 * 1024):
        yield body[start : start + 64 * 1024]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", ["declared", "in pieces", "gzip"])
def test_a_body_over_the_limit_is_refused(http: Http, user: User, call: str, way: str) -> None:
    made = CALLS[call](user.device() if call != "refreshToken" else logged_in(user))
    headers = {"Origin": ORIGIN, "Content-Type": "application/json", "Authorization": made.authorization or ""}
    body = of_size(MAX_BODY + 1)
    if way == "gzip":
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    answer = http.client.post(made.path, content=in_pieces(body) if way == "in pieces" else body, headers=headers)
    assert str(MAX_BODY) in refusal(answer, 413, "body_too_large")


def logged_in(user: User) -> Device:
    device = user.device()
    device.login()
    return device


@pytest.mark.parametrize("zipped", [False, True])
def test_a_body_at_the_limit_is_taken(http: Http, pull: Call, zipped: bool) -> None:
    body = of_size(MAX_BODY)
    assert len(body) == MAX_BODY
    if zipped:
        answer = http.post(pull.path, gzip.compress(body), pull.authorization, Content_Encoding="gzip")
    else:
        answer = http.post(pull.path, body, pull.authorization)
    assert answer.status_code == 200


def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST /pull/{server.realm} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {10**12}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@needs_proc
def test_a_gzip_bomb_is_not_inflated_in_whole(http: Http, process_id: int, pull: Call) -> None:
    body = bomb(HUGE)
    assert len(body) < MIB
    with Peak(process_id) as peak:
        for _ in range(3):
            answer = http.post(pull.path, body, pull.authorization, Content_Encoding="gzip")
            refusal(answer, 413, "body_too_large")
    assert peak.bytes < 4 * MAX_BODY


@needs_proc
def test_a_bomb_in_many_members_is_not_inflated_in_whole(http: Http, process_id: int, pull: Call) -> None:
    body = gzip.compress(b" " * MIB) * 64
    with Peak(process_id) as peak:
        answer = http.post(pull.path, body, pull.authorization, Content_Encoding="gzip")
        refusal(answer, 413, "body_too_large")
    assert peak.bytes < 4 * MAX_BODY


@needs_proc
def test_a_body_without_end_is_not_kept(http: Http, process_id: int, pull: Call) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": "application/json"}
    with Peak(process_id) as peak:
        body = (b" " * MIB for _ in range(HUGE // MIB))
        refusal(http.client.post(pull.path, content=body, headers=headers), 413, "body_too_large")
    assert peak.bytes < 4 * MAX_BODY


def test_the_peak_of_memory_is_measured() -> None:
    """A control: this process, which does hold the bytes, is seen to."""
    with Peak(os.getpid()) as peak:
        held = bytearray(b"x" * (6 * MAX_BODY))
    assert len(held) <= peak.bytes


def test_empty_gzip_members_do_not_hold_up_the_server(http: Http, pull: Call) -> None:
    """Each costs next to nothing to send; a body full of them must cost next to nothing to refuse."""
    body = gzip.compress(b"", mtime=0) * (MAX_BODY // 20)
    begun = time.monotonic()
    refusal(http.post(pull.path, body, pull.authorization, Content_Encoding="gzip"), 400, "malformed_encoding")
    assert time.monotonic() - begun < 20


def test_a_gzip_body_of_several_members_is_taken(http: Http, pull: Call) -> None:
    """RFC 1952, 2.2."""
    text = json.dumps(pull.body).encode()
    pieces = [text[:5], b"", text[5:20], text[20:]]
    body = b"".join(map(gzip.compress, pieces))
    assert http.post(pull.path, body, pull.authorization, Content_Encoding="gzip").status_code == 200


def test_the_encodings_name_is_read_without_regard_to_case(http: Http, pull: Call) -> None:
    body = gzip.compress(json.dumps(pull.body).encode())
    for name in ("GZIP", "x-gzip"):
        assert http.post(pull.path, body, pull.authorization, Content_Encoding=name).status_code == 200
    assert http.post(pull.path, pull.body, pull.authorization, Content_Encoding="identity").status_code == 200


def _broken() -> dict[str, bytes]:
    whole = gzip.compress(b'{"lastSync": 0}' + b" " * 100_000 + os.urandom(200_000).hex().encode())
    return {
        "no gzip": b'{"lastSync": 0}',
        "nothing": b"",
        "the magic number": b"\x1f\x8b",
        "half of it": whole[: len(whole) // 2],
        "without its end": whole[:-1],
        "without its trailer": whole[:-8],
        "a wrong checksum": whole[:-8] + bytes(4) + whole[-4:],
        "a wrong length": whole[:-4] + bytes(4),
        "a broken middle": whole[:1000] + b"\xff" * 50 + whole[1050:],
        "garbage behind it": whole + b"garbage",
        "a second half behind it": whole + whole[:100],
        "zlib, not gzip": zlib.compress(b"{}"),
        "raw deflate": zlib.compress(b"{}")[2:-4],
    }


BROKEN = _broken()


@pytest.mark.parametrize(
    ("call", "body"),
    # nothing inflates to nothing, and a cancelSync may come without a body
    [(call, body) for call in CALLS for body in BROKEN if (call, body) != ("cancelSync", "nothing")],
)
def test_broken_gzip_is_refused(http: Http, user: User, call: str, body: str) -> None:
    """With 400, after which sync_client repeats the call uncompressed."""
    made = CALLS[call](logged_in(user))
    answer = http.post(made.path, BROKEN[body], made.authorization, Content_Encoding="gzip")
    refusal(answer, 400, None if body == "nothing" else "malformed_encoding")
    if call != "unregister":
        assert http.make(made).status_code in (200, 403, 409)


TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"]
CHARSETS = ["iso-8859-1", "latin-1", "utf-16", '"utf-16"', "x"]


@pytest.mark.parametrize("call", CALLS)
def test_what_is_not_declared_as_json_in_utf_8_is_refused(http: Http, user: User, call: str) -> None:
    made = CALLS[call](logged_in(user))
    for kind in (*TYPES, *(f"application/json; charset={name}" for name in CHARSETS), "application/jsonx", "/"):
        refusal(http.make(made, Content_Type=kind), 415, "unsupported_media_type")
    for encoding in ("br", "deflate", "zstd", "gzip, br", "gzip, gzip", "compress", "x"):
        refusal(http.make(made, Content_Encoding=encoding), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON;CHARSET=UTF-8", 'application/json; charset="utf-8"', "text/json"]
)
def test_json_in_utf_8_is_taken_however_it_is_declared(http: Http, pull: Call, kind: str) -> None:
    assert http.make(pull, Content_Type=kind).status_code == 200
