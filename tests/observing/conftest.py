"""What the tests of logs, health and metrics have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from conftest import Process, Server, start_server
from postgres import Postgres
from routes.conftest import http
from server.operating import free_port, wait_for
from sync.conftest import connections, new_user, stranger, user, wire
from users import User, look_into
from wire import Wire

__all__ = ["connections", "http", "new_user", "stranger", "user", "wire"]

Line = dict[str, Any]


def lines_in(log: str) -> list[Line]:
    """What is logged of requests."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == "request"]


@pytest.fixture
def line_of(server: Server) -> Callable[[str], Line]:
    """The line of the request of this id."""

    assert server.process is not None
    path = server.process.directory / "server.log"
    before = path.stat().st_size  # of all tests that this server has served

    def logged() -> str:
        with path.open("rb") as log:
            log.seek(before)
            return log.read().rpartition(b"\n")[0].decode()

    def line(request_id: str) -> Line:
        found = wait_for(lambda: [line for line in lines_in(logged()) if line["request_id"] == request_id])
        assert len(found) == 1
        return found[0]

    return line


TOKEN = "a token of metrics that is long enough"


@dataclass(frozen=True)
class Watched:
    """A server with metrics on a port of their own and behind a token on the main one."""

    process: Process
    metrics_url: str

    def numbers(self, name: str, **labels: str) -> float:
        """The value of a metric, or the sum of those with these labels."""
        return sum(
            sample.value
            for family in self.families()
            for sample in family.samples
            if sample.name == f"sync_server_{name}" and labels.items() <= sample.labels.items()
        )

    def families(self) -> list[Metric]:
        answer = httpx.get(self.metrics_url + "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        assert answer.status_code == 200
        return list(text_string_to_metric_families(answer.text))


def start_watched(directory: Path, realms: dict[str, Any], *arguments: str) -> Watched:
    port = free_port()
    config = {
        "server": {"bcrypt_rounds": 4},
        "db": {"realms": realms},
        "metrics": {"port": port, "token": TOKEN},
    }
    process = start_server(directory, config, *arguments, environment={"RATE_LIMIT_DISABLE": "1"})
    return Watched(process, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def watched(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Two realms at work, one of which is called like a path, and one whose database is not there."""
    realms = {"watched": postgres.create_database("watched"), "metrics": postgres.create_database("called_metrics")}
    down = {"down": "postgresql://127.0.0.1:1/nowhere?connect_timeout=1"}
    found = start_watched(tmp_path_factory.mktemp("watched"), {**realms, **down})
    yield found
    assert found.process.stop() == 0
    assert '"fault"' not in found.process.log


@pytest.fixture
def watched_user(watched: Watched) -> Iterator[User]:
    with (
        closing(Wire(watched.process.url)) as wire,
        look_into(watched.process.config["db"]["realms"]["watched"]) as connection,
    ):
        yield User(wire.send, "watched", connection)
