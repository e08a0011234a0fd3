"""The image's server at work as docker-compose.yml runs it: process 1, without privileges, on a read-only file system."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy import dockerfile, services
from deploy.conftest import SECRETS, TOP, free_port
from deploy.containers import Container, Running, children
from deploy.databases import Database
from deploy.images import Image

pytestmark = pytest.mark.timeout(600)  # the first to come builds the image, with packages from the index
FINAL = dockerfile.read(TOP / "Dockerfile")[-1]
ENTRYPOINT = FINAL.last("ENTRYPOINT").words
COMMAND = [*ENTRYPOINT, *FINAL.last("CMD").words]
HEALTH = FINAL.last("HEALTHCHECK").words


@dataclass
class Service:
    """The service `server`, and the port on which it is found here."""

    container: Container
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def service(image: Image, database: Database, project: dict[str, Any], tmp_path: Path) -> Service:
    port = free_port()
    variables = {"PORT": str(port), "PGPORT": str(database.port)}
    return Service(services.container(image, project["services"]["server"], TOP, tmp_path, variables), port)


Start = Callable[..., Running]


@pytest.fixture
def start(service: Service) -> Iterator[Start]:
    """Start the server and wait until it listens."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Running:
            running = stack.enter_context(service.container.start([*COMMAND, *arguments]))
            running.wait_for("listens on")
            return running

        yield start


def register(service: Service) -> str:
    """Register somebody; their address."""
    email = f"{uuid4().hex}@example.com"
    user = {"name": "Ann", "email": email, "password": "secret", "clientId": str(uuid4()), "newRegistration": True}
    answer = httpx.post(f"{service.url}/register/default", json=user)
    assert answer.status_code == 200, answer.text
    return email


def test_it_serves_from_the_database_of_the_compose_file(service: Service, start: Start, database: Database) -> None:
    running = start()
    assert httpx.get(service.url).status_code == 200
    email = register(service)
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM sync.users WHERE email = %s", [email]).fetchone() == (1,)
    assert running.stop() == 0
    assert not [secret for secret in SECRETS.values() if secret in running.printed], running.printed


def test_it_is_process_1_and_has_no_privileges(start: Start) -> None:
    process = Path(f"/proc/{start().first_process}")
    lines = (process / "status").read_text().splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["NSpid"][-1] == "1"
    assert status["Uid"] == status["Gid"] == ["10001"] * 4
    assert not status["Groups"]
    assert {int(status[kind][0], 16) for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == ["1"]
    root = next(line.split() for line in (process / "mounts").read_text().splitlines() if line.split()[1] == "/")
    assert "ro" in root[3].split(",")


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_it_ends_when_it_is_told_to(service: Service, start: Start, workers: str) -> None:
    running = start("--workers", workers)
    register(service)
    assert running.stop() == 0
    assert "has ended" in running.printed


def test_the_health_check_tells_a_server_that_answers_from_one_that_does_not(service: Service, start: Start) -> None:
    running = start()
    assert service.container.run(HEALTH).returncode == 0
    os.kill(running.first_process, signal.SIGSTOP)
    assert service.container.run(HEALTH).returncode != 0
    os.kill(running.first_process, signal.SIGCONT)
    assert running.stop() == 0
    assert service.container.run(HEALTH).returncode != 0


@pytest.mark.long
def test_a_worker_that_dies_is_replaced_and_leaves_no_zombie(service: Service, start: Start) -> None:
    running = start("--workers", "2")
    register(service)
    (victim, *_) = workers(running)
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while victim in children(running.first_process) or len(workers(running)) < 2:
        assert time.monotonic() < deadline, f"{children(running.first_process)}: {running.printed}"
        time.sleep(0.1)
    register(service)
    assert not [pid for pid in children(running.first_process) if state(pid) == "Z"]


def workers(running: Running) -> list[int]:
    """The server's children that serve, that is, hold the listening socket."""
    return [
        pid
        for pid in children(running.first_process)
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes() and state(pid) != "Z"
    ]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_the_other_commands_work_in_the_same_container(service: Service) -> None:
    migrated = service.container.run([*ENTRYPOINT, "migrate"])
    assert (migrated.returncode, "up to date" in migrated.stdout) == (0, True), migrated.stdout
    checked = service.container.run([*ENTRYPOINT, "check"])
    assert (checked.returncode, "All is well" in checked.stdout) == (0, True), checked.stdout
    assert "/data/outbox" in checked.stdout


@pytest.mark.long
def test_nothing_of_a_container_is_left_behind(service: Service) -> None:
    with service.container.start([*COMMAND, "--workers", "2"]) as running:
        running.wait_for("listens on")
        started = [running.first_process, *children(running.first_process)]
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_without_its_database_it_says_so_and_ends(service: Service, database: Database) -> None:
    database.stop()
    try:
        done = service.container.run(COMMAND, timeout=60)
    finally:
        database.start()
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert not [secret for secret in SECRETS.values() if secret in done.stdout], done.stdout
