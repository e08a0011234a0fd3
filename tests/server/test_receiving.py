"""Bodies that come slowly, or not at all, and clients that go away in the middle."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import httpx
import pytest

from postgres import Postgres
from server.calls import begin_sync, change, credentials, log_in, push, register
from server.operating import Operator, Running, config_with, wait_for
from server.raw import REGISTRATION, Raw, head, request

TIMEOUT = 1.0


@pytest.fixture(scope="module")
def running(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    operator = Operator(tmp_path_factory.mktemp("receiving"))
    url = postgres.create_database("receiving")
    running = operator.serve(
        config_with({"default": url}, body_timeout=TIMEOUT), environment={"RATE_LIMIT_DISABLE": "1"}
    )
    yield running
    assert running.end() == 0
    assert running.faults() == []
    operator.leave()


def reset(line: Raw) -> None:
    """Go away as a phone does that lost its network: the server sees an error, not an end."""
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def test_a_body_that_stops_coming_is_given_up(running: Running) -> None:
    line = Raw(running.port).send(request("/register/default", credentials(), "Origin: https://app.example.com")[:-5])
    started = time.monotonic()
    status, headers, body = line.answer()
    assert TIMEOUT * 0.9 < time.monotonic() - started < TIMEOUT + 3
    assert status == 408
    assert headers["access-control-allow-origin"] == "*"
    assert b'"error":"body_stalled"' in body
    line.close()


def test_a_body_of_which_nothing_comes_is_given_up(running: Running) -> None:
    line = Raw(running.port).send(head("/register/default", "Content-Length: 10"))
    assert line.json()[0] == 408
    line.close()


def test_a_slow_body_is_taken(running: Running) -> None:
    """The limit is on silence, not on the whole: a big push on a slow line takes as long as it takes."""
    line = Raw(running.port)
    head, end, body = request("/register/default", credentials(10)).partition(b"\r\n\r\n")
    line.send(head + end).drips(body, pieces=6, pause=TIMEOUT * 0.5)
    assert line.json()[0] == 200
    line.close()


def test_a_head_that_does_not_come_to_its_end_is_given_up(running: Running) -> None:
    """However slowly it drips; a connection that has said nothing yet may be kept for later."""
    line, silent = Raw(running.port), Raw(running.port)
    line.send(request("/register/default", credentials(20))[:20])
    started = time.monotonic()
    while time.monotonic() - started < TIMEOUT + 5:
        try:
            line.socket.sendall(b"x")
        except OSError:
            break
        time.sleep(TIMEOUT / 10)
    assert TIMEOUT * 0.9 < time.monotonic() - started < TIMEOUT + 4
    assert silent.send(request("/register/default", credentials(21))).json()[0] == 200
    line.close()
    silent.close()


def test_a_body_in_chunks_is_taken(running: Running) -> None:
    _, _, body = request("/register/default", credentials(11)).partition(b"\r\n\r\n")
    line = Raw(running.port).send(head("/register/default", "Transfer-Encoding: chunked"))
    for piece in (body[:50], body[50:]):
        line.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    assert line.send(b"0\r\n\r\n").json()[0] == 200
    line.close()


def test_a_client_that_asks_before_it_sends_its_body(running: Running) -> None:
    whole = request("/register/default", credentials(12), "Expect: 100-continue")
    first, _, body = whole.partition(b"\r\n\r\n")
    line = Raw(running.port).send(first + b"\r\n\r\n")
    assert line.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert line.send(body).json()[0] == 200
    line.close()


SENT = {
    "nothing": b"",
    "half a head": REGISTRATION[:30],
    "half a body": REGISTRATION[:-5],
    "half a gzip": head("/register/default", "Content-Length: 100", "Content-Encoding: gzip") + b"\x1f\x8b\x08",
    "half a chunk": head("/register/default", "Transfer-Encoding: chunked") + b"5\r\n{",
    "all": request("/register/default", credentials(13)),
    "no route": request("/no/such/path", {})[:-1],
}


@pytest.mark.parametrize("leave", [Raw.close, reset], ids=["close", "reset"])
def test_clients_that_go_away_leave_no_fault(running: Running, leave: object) -> None:
    lines = [Raw(running.port).send(sent) for sent in SENT.values()]
    time.sleep(0.3)
    assert callable(leave)
    for line in lines:
        leave(line)
        assert register(running.url, number=14).status_code == 200
    time.sleep(0.5)
    assert running.faults() == []


def test_a_client_that_goes_away_in_the_middle_of_its_answer(running: Running) -> None:
    assert register(running.url, number=1).status_code == 200
    headers = begin_sync(running, log_in(running.url))
    rows = push([change(number, 3000) for number in range(2000)])
    assert httpx.post(f"{running.url}/push/default", json=rows, headers=headers, timeout=30).status_code == 200
    pull = request("/pull/default", {"lastSync": 0}, f"Authorization: {headers['Authorization']}")
    line = Raw(running.port, receive_buffer=4096).send(pull)
    assert line.socket.recv(100).startswith(b"HTTP/1.1 200 OK")
    reset(line)
    wait_for(running.greets)
    time.sleep(0.5)
    assert running.faults() == []


def test_bytes_that_are_no_request(running: Running) -> None:
    line = Raw(running.port).send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50))  # TLS on a plain port
    assert line.until_closed().startswith(b"HTTP/1.1 400 ")
    line.close()
    assert running.faults() == []
