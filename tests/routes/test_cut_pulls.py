"""A pull that cannot be ended is seen to be broken: never an answer that looks complete and lacks rows (G2)."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

import clusters
from conftest import FAST, Process, start_server
from device import Device
from routes.calls import Http, bearer
from routes.streams import ROW_BYTES, ROWS, fill, random_text, read, slow_pull
from server.operating import wait_for
from sync_server.embedded import EmbeddedPostgres
from users import User, look_into
from wire import Wire


@dataclass
class Installation:
    """A server and a PostgreSQL of its own, with a user who has many rows."""

    process: Process
    postgres: EmbeddedPostgres
    phone: Device


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    embedded = EmbeddedPostgres(clusters.put(tmp_path_factory.mktemp("own") / "data"), settings=FAST)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture(scope="module")
def full(own_postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> tuple[Process, Device]:
    """A server that has ended, and a device with many rows there."""
    config: dict[str, Any] = {
        "server": {"bcrypt_rounds": 4, "grace": 1},
        "db": {"realms": {"main": own_postgres.create_database("m")}},
    }
    process = start_server(tmp_path_factory.mktemp("server"), config)
    wire = Wire(process.url)
    with (
        look_into(config["db"]["realms"]["main"]) as connection,
        httpx.Client(base_url=process.url, timeout=60) as client,
    ):
        phone = User(wire.send, "main", connection).device()
        fill(Http(client), phone, [(f"row {number}", random_text(ROW_BYTES)) for number in range(ROWS)])
        phone.fetch_token()
    wire.close()
    assert process.stop() == 0
    return process, phone


@pytest.fixture
def installation(own_postgres: EmbeddedPostgres, full: tuple[Process, Device]) -> Iterator[Installation]:
    if not own_postgres.running:
        own_postgres.start()
    ended, phone = full
    process = start_server(ended.directory, ended.config)
    yield Installation(process, own_postgres, phone)
    process.stop(signal.SIGKILL)


def lose_the_database(installation: Installation) -> None:
    installation.postgres.stop()


def stop_the_server(installation: Installation) -> None:
    installation.process.process.send_signal(signal.SIGTERM)


def kill_the_server(installation: Installation) -> None:
    installation.process.process.kill()


@pytest.mark.parametrize(
    ("end", "encoding"),
    [
        (lose_the_database, "identity"),
        (lose_the_database, "gzip"),
        (stop_the_server, "gzip"),
        (kill_the_server, "identity"),
    ],
)
def test_g2_a_cut_pull_is_a_broken_answer(
    installation: Installation, end: Callable[[Installation], None], encoding: str
) -> None:
    text = bytearray()
    with slow_pull(installation.process.url, installation.phone, encoding) as answer:
        text += next(pieces := answer.iter_bytes())
        end(installation)
        if end is stop_the_server:  # a reader who has stopped is not waited for beyond the grace
            assert installation.process.process.wait(60) == 0
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            text.extend(itertools.chain.from_iterable(pieces))
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_the_next_pull_is_whole_when_the_database_is_back(installation: Installation) -> None:
    with slow_pull(installation.process.url, installation.phone) as answer:
        next(pieces := answer.iter_bytes())
        installation.postgres.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    installation.postgres.start()
    url, headers = installation.process.url, {"Authorization": bearer(installation.phone)}
    # a call that found the database away keeps others away from it for a moment
    wait_for(lambda: httpx.post(f"{url}/cancelSync/main", headers=headers, json={}).status_code == 200)
    with slow_pull(url, installation.phone) as answer:
        assert len(read(answer)["data"]) == ROWS
    log = installation.process.log
    assert '"fault"' not in log
    assert '"answer_broken_off"' in log  # one line that says it
    assert "Traceback" not in log
    assert "ASGI" not in log
