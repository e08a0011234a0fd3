"""SIGTERM and Ctrl-C: running requests end, within the grace; nothing else holds the end."""

from __future__ import annotations

import signal
import time
from contextlib import closing

import httpx

from server.calls import Call, begin_sync, change, credentials, log_in, push, register
from server.databases import count, locked_space, somebody_waits
from server.operating import ALSO_TWO, AT_ONCE, GRACE, Operator, config_with, ends_within, refused, wait_for
from server.raw import REGISTRATION, Raw, request


@ALSO_TWO
def test_a_running_request_ends_with_its_answer(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}, bcrypt_rounds=14), "--workers", workers)
    line = Raw(running.port).send(REGISTRATION)
    time.sleep(0.4)
    with ends_within(running, GRACE):
        status, headers, body = line.answer()
        assert (status, headers["connection"]) == (200, "close"), body
    assert line.until_closed() == b""
    line.close()
    assert count(empty_url, "SELECT count(*) FROM sync.users") == 1
    assert running.faults() == []


@ALSO_TWO
def test_a_push_that_waits_for_a_lock_is_waited_for(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", workers)
    register(running.url)
    headers = begin_sync(running, log_in(running.url))
    with locked_space(empty_url):
        call = Call(f"{running.url}/push/default", push([change(1)]), headers)
        wait_for(lambda: somebody_waits(empty_url))
        running.process.send_signal(signal.SIGTERM)
        time.sleep(3)
        assert call.answer is None
        assert running.process.poll() is None
    assert call.result().status_code == 200
    assert call.result().json()["lastSync"] > 0
    assert running.end() == 0
    assert count(empty_url, "SELECT count(*) FROM sync.rows") == 1


@ALSO_TWO
def test_a_request_longer_than_the_grace_is_cut(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}, grace=1), "--workers", workers)
    register(running.url)
    headers = begin_sync(running, log_in(running.url))
    with locked_space(empty_url):
        call = Call(f"{running.url}/push/default", push([change(1)]), headers)
        wait_for(lambda: somebody_waits(empty_url))
        with ends_within(running, 1 + AT_ONCE):
            answer = call.result()
            assert answer.status_code == 503
            assert answer.json()["code"] == 503
            assert answer.headers["retry-after"]
            assert answer.headers["access-control-allow-origin"] == "*"
        assert not somebody_waits(empty_url)
    assert count(empty_url, "SELECT count(*) FROM sync.rows") == 0
    assert running.faults() == []


@ALSO_TWO
def test_a_body_that_keeps_arriving_is_let_through(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", workers)
    line = Raw(running.port).send(REGISTRATION[:100])
    time.sleep(0.2)
    with ends_within(running, 4 + AT_ONCE):
        line.drips(REGISTRATION[100:], pieces=8, pause=0.4)
        status, answer = line.json()
        assert (status, answer["user"]["email"]) == (200, credentials()["email"])
        line.close()


@ALSO_TWO
def test_a_body_that_arrives_for_longer_than_the_grace_is_cut(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}, grace=1), "--workers", workers)
    line = Raw(running.port).send(REGISTRATION[:100])
    time.sleep(0.2)
    with ends_within(running, 1 + AT_ONCE):
        line.drips(REGISTRATION[100:130], pieces=2, pause=0.4)
        assert line.json()[0] == 503
        line.close()


@ALSO_TWO
def test_new_connections_are_refused_while_it_ends(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", workers)
    register(running.url)
    headers = begin_sync(running, log_in(running.url))
    with locked_space(empty_url):
        call = Call(f"{running.url}/push/default", push([change(1)]), headers)
        wait_for(lambda: somebody_waits(empty_url))
        running.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refused(running.port))
        assert call.answer is None
    assert call.result().status_code == 200
    assert running.end() == 0


@ALSO_TWO
def test_a_slow_reader_of_a_big_pull_does_not_outlast_the_grace(
    operator: Operator, empty_url: str, workers: str
) -> None:
    running = operator.serve(config_with({"default": empty_url}, grace=1), "--workers", workers)
    register(running.url)
    headers = begin_sync(running, log_in(running.url))
    rows = push([change(number, 3000) for number in range(6000)])
    assert httpx.post(f"{running.url}/push/default", json=rows, headers=headers, timeout=30).status_code == 200
    pull = request("/pull/default", {"lastSync": 0}, f"Authorization: Bearer {log_in(running.url)}")
    slow = Raw(running.port, receive_buffer=4096).send(pull)
    assert slow.socket.recv(200).startswith(b"HTTP/1.1 200 OK")
    time.sleep(0.5)
    with ends_within(running, 1 + AT_ONCE):
        pass
    assert not slow.until_closed().endswith(b"]}\r\n0\r\n\r\n"), "the answer was not big enough"
    slow.close()
    assert running.faults() == []


@ALSO_TWO
def test_the_answer_of_a_fast_reader_is_whole(operator: Operator, empty_url: str, workers: str) -> None:
    running = operator.serve(config_with({"default": empty_url}, grace=60), "--workers", workers)
    register(running.url)
    headers = begin_sync(running, log_in(running.url))
    rows = push([change(number, 3000) for number in range(2000)])
    assert httpx.post(f"{running.url}/push/default", json=rows, headers=headers, timeout=30).status_code == 200
    with (
        closing(httpx.Client(timeout=30)) as client,
        client.stream("POST", f"{running.url}/pull/default", json={"lastSync": 0}, headers=headers) as answer,
    ):
        parts = answer.iter_bytes(4096)
        read = next(parts)
        with ends_within(running, 60):
            for part in parts:
                read += part
    assert read.endswith(b"]}")
