"""The proxy does to connections what it says."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from proxies import BLACK_HOLE, FREEZE, PASS, REFUSE, Mode, Proxy, cut_answer, cut_request, delay


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.greeted += 1  # type: ignore[attr-defined]
        try:
            while data := self.request.recv(65536):
                self.server.heard += data  # type: ignore[attr-defined]
                self.request.sendall(data)
        except ConnectionError:
            self.server.resets += 1  # type: ignore[attr-defined]


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    greeted = resets = 0
    heard = b""


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", echo.server_address[1])) as proxy:
        yield proxy


@pytest.fixture
def dial(proxy: Proxy) -> Iterator[Callable[[], socket.socket]]:
    made: list[socket.socket] = []

    def dial() -> socket.socket:
        made.append(socket.create_connection(("127.0.0.1", proxy.port), 5))
        return made[-1]

    yield dial
    for connection in made:
        connection.close()


Dial = Callable[[], socket.socket]


def says(connection: socket.socket, text: bytes) -> bytes:
    """Send it; what comes back within half a second, as far as it comes."""
    connection.sendall(text)
    return hears(connection, len(text))


def hears(connection: socket.socket, length: int, seconds: float = 0.5) -> bytes:
    connection.settimeout(seconds)
    heard = b""
    try:
        while len(heard) < length and (data := connection.recv(65536)):
            heard += data
    except TimeoutError:
        pass
    return heard


def is_reset(connection: socket.socket) -> bool:
    connection.settimeout(60)
    try:
        assert connection.recv(1) == b""
    except ConnectionResetError:
        return True
    return False


def test_it_passes_everything_on(dial: Dial) -> None:
    connection = dial()
    assert says(connection, b"x" * 300_000) == b"x" * 300_000
    assert says(connection, b"again") == b"again"


def test_the_end_of_a_connection_passes_both_ways(proxy: Proxy, dial: Dial) -> None:
    connection = dial()
    says(connection, b"hello")
    connection.close()
    until(lambda: proxy.connections == 0)


def test_a_frozen_connection_goes_on_afterwards(proxy: Proxy, dial: Dial) -> None:
    connection = dial()
    assert says(connection, b"one") == b"one"
    proxy.mode = FREEZE
    new = dial()
    assert says(connection, b"two") == b""
    assert says(new, b"three") == b""
    proxy.mode = PASS
    assert hears(connection, 3, 5) == b"two"
    assert hears(new, 5, 5) == b"three"


def test_what_a_black_hole_swallowed_is_lost_and_the_connection_with_it(
    proxy: Proxy, dial: Dial, echo: EchoServer
) -> None:
    loser, idle = dial(), dial()
    assert says(loser, b"one") == b"one"
    assert says(idle, b"one") == b"one"
    proxy.mode = BLACK_HOLE
    assert says(loser, b"two") == b""
    proxy.mode = PASS
    assert is_reset(loser)
    assert says(idle, b"three") == b"three"
    assert b"two" not in echo.heard


def test_refused_connections_are_reset(proxy: Proxy, dial: Dial) -> None:
    old = dial()
    assert says(old, b"one") == b"one"
    proxy.mode = REFUSE
    assert is_reset(old)
    with pytest.raises(ConnectionResetError):  # in one of the two
        dial().recv(1)
    proxy.mode = PASS
    assert says(dial(), b"two") == b"two"


def test_a_cut_request_arrives_in_part(proxy: Proxy, dial: Dial, echo: EchoServer) -> None:
    proxy.mode = cut_request(4)
    connection = dial()
    connection.sendall(b"12345678")
    assert is_reset(connection)
    until(lambda: len(echo.heard) >= 4)
    assert echo.heard == b"1234"


def test_a_cut_answer_was_heard_whole(proxy: Proxy, dial: Dial, echo: EchoServer) -> None:
    proxy.mode = cut_answer(0)
    connection = dial()
    connection.sendall(b"12345678")
    assert hears(connection, 8, 5) == b""
    assert echo.heard == b"12345678"


def test_a_short_answer_is_not_cut(proxy: Proxy, dial: Dial) -> None:
    proxy.mode = cut_answer(8)
    assert says(dial(), b"12345678") == b"12345678"


def test_a_delay_is_one(proxy: Proxy, dial: Dial) -> None:
    connection = dial()
    proxy.mode = delay(0.2)
    begun = time.monotonic()
    connection.sendall(b"slow")
    assert hears(connection, 4, 60) == b"slow"
    assert 0.4 <= time.monotonic() - begun < 30


def test_fate_is_asked_once_for_each_connection(proxy: Proxy, dial: Dial) -> None:
    fates: list[Mode] = [cut_answer(0), PASS]
    proxy.fate = lambda: fates.pop(0)
    doomed, lucky = dial(), None
    assert says(doomed, b"x") == b""
    lucky = dial()
    assert says(lucky, b"y") == b"y"
    assert not fates


def test_targets_take_turns(proxy: Proxy, dial: Dial, echo: EchoServer) -> None:
    with EchoServer(("127.0.0.1", 0), Echo) as second:
        thread = threading.Thread(target=second.serve_forever, args=(0.02,))
        thread.start()
        proxy.targets.append(("127.0.0.1", second.server_address[1]))
        for _ in range(4):
            assert says(dial(), b"z") == b"z"
        second.shutdown()
        thread.join()
        assert (echo.greeted, second.greeted) == (2, 2)


def test_cut_resets_what_is_open(proxy: Proxy, dial: Dial) -> None:
    connection = dial()
    assert says(connection, b"x") == b"x"
    assert proxy.cut() == 1
    assert is_reset(connection)


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
