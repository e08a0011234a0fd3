"""Parts of one call that reach different workers find together: what has arrived is in the database, not in a process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from conftest import Process, start_server
from device import Device
from postgres import Postgres
from routes.calls import bearer
from users import User, change, look_into
from wire import Wire

WORKERS = 2
TURNS = 10
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="workers are found in /proc")


@pytest.fixture(scope="module")
def workers(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"main": postgres.create_database("workers")}}}
    process = start_server(tmp_path_factory.mktemp("workers"), config, "--workers", str(WORKERS))
    yield process
    assert process.stop() == 0
    assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def worker_ids(workers: Process) -> list[int]:
    """The workers, each of which has answered on its own."""
    found: list[int] = []
    until = time.monotonic() + 30
    while len(found) < WORKERS and time.monotonic() < until:
        found = [child for child in _children(workers.process.pid) if b"spawn_main" in _command(child)]
        time.sleep(0.05)
    assert len(found) == WORKERS
    for worker in found:
        with only(worker, found):
            assert httpx.get(workers.url, timeout=60).status_code == 200
    return found


def _children(process_id: int) -> list[int]:
    lists = (path.read_text() for path in Path(f"/proc/{process_id}/task").glob("*/children"))
    return [int(child) for child in " ".join(lists).split()]


def _command(process_id: int) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    return b""


@contextlib.contextmanager
def only(worker: int, workers: list[int]) -> Iterator[None]:
    """The others stand still: whatever is answered, this one answers."""
    others = [other for other in workers if other != worker]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


@pytest.fixture
def user(workers: Process) -> Iterator[User]:
    wire = Wire(workers.url)
    with look_into(workers.config["db"]["realms"]["main"]) as connection:
        yield User(wire.send, "main", connection)
    wire.close()


@pytest.fixture
def phone(user: User) -> Device:
    device = user.device()
    device.login()
    return device


def chunks(body: Any, size: int) -> list[dict[str, Any]]:
    text, sync_id = json.dumps(body), str(uuid4())
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return [
        {"chunkIndex": index, "chunks": len(pieces), "data": piece, "syncId": sync_id}
        for index, piece in enumerate(pieces)
    ]


def send(workers: Process, phone: Device, call: str, chunk: dict[str, Any]) -> httpx.Response:
    """Over a connection of its own, which any worker may accept."""
    url = f"{workers.url}/{call}/main/{phone.client_id}"
    return httpx.post(url, json=chunk, headers={"Authorization": bearer(phone)}, timeout=60)


def test_each_part_reaches_another_worker_than_the_one_before(
    workers: Process, worker_ids: list[int], user: User, phone: Device
) -> None:
    changes = [change("I", f"{number}", 1, {"title": "milk"}) for number in range(9)]
    for call, body in (("pull", phone.body([], 0, 0)), ("push", phone.body(changes, 0, 0))):
        found = chunks(body, len(json.dumps(body)) // 5)
        answers = []
        for worker, chunk in zip(itertools.cycle(worker_ids), found, strict=False):
            with only(worker, worker_ids):
                answers.append(send(workers, phone, call, chunk))
        assert [answer.status_code for answer in answers] == [206] * (len(found) - 1) + [200]
    assert len(user.rows()) == 9
    assert answers[-1].json()["lastSync"] == user.clock


def test_whole_syncs_in_parts_over_fresh_connections(workers: Process, user: User, phone: Device) -> None:
    for turn in range(3):
        changes = [change("I", f"{turn}-{number}", 1, {"title": "milk"}) for number in range(30)]
        for call, body in (("pull", phone.body([], 0, 0)), ("push", phone.body(changes, 0, 0))):
            with ThreadPoolExecutor(3) as pool:
                answers = pool.map(lambda chunk, call=call: send(workers, phone, call, chunk), chunks(body, 300))
                statuses = sorted(answer.status_code for answer in answers)
            assert statuses == [200] + [206] * (len(statuses) - 1)
    assert len(user.rows()) == 90


def test_the_last_two_parts_at_once_are_answered_200_and_206(workers: Process, phone: Device) -> None:
    for turn in range(TURNS):
        body = phone.body([], 0, turn)
        first, *last = chunks(body, -(-len(json.dumps(body)) // 3))
        assert send(workers, phone, "pull", first).status_code == 206
        both = threading.Barrier(2)

        def at_once(chunk: dict[str, Any], both: threading.Barrier = both) -> int:
            both.wait()
            return send(workers, phone, "pull", chunk).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(at_once, last)) == [200, 206]
        phone.cancel()
