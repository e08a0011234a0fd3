"""What the tests of images, commands and compose share."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import compose, images
from deploy.containers import Container, Files
from deploy.databases import Database
from deploy.images import Image
from sync_server.embedded import EmbeddedPostgres

TOP = Path(__file__).parents[2]
SECRETS = {
    "POSTGRES_PASSWORD": "it's 50% $ecure: p@ss/w#rd?",
    "SECRET_KEY": "access-" * 8,
    "SECRET_KEY_REFRESH": "refresh-" * 8,
}
"""What docker-compose.yml must be given, as unpleasant as it may be."""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Image:
    """The image of our Dockerfile, built once for all test processes."""
    own = tmp_path_factory.getbasetemp()
    directory = (own if worker_id == "master" else own.parent) / "image"
    directory.mkdir(exist_ok=True)
    _skip_without_containers(tmp_path_factory.mktemp("probe"))
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (directory / "built").exists():
            return images.open_image(TOP, directory)
        image = images.build(TOP, directory)
        (directory / "built").touch()
        return image


def _skip_without_containers(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the namespaces of a container take root")
    done = Container(Files(directory), {"PATH": os.environ["PATH"]}).run(["true"])
    if done.returncode != 0:
        pytest.skip(f"this system lets nobody make a container: {done.stdout}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def database(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """What the compose file's server finds under the name `database`. A test that stops it starts it again."""
    # its account is that of `postgres`, for which the way to PostgreSQL's programs has been opened
    owner = postgres.directory.stat()
    directory = tmp_path_factory.mktemp("database")
    database = Database(directory, (owner.st_uid, owner.st_gid), free_port(), SECRETS["POSTGRES_PASSWORD"])
    database.make()
    database.start()
    yield database
    database.stop()


@pytest.fixture
def project() -> dict[str, Any]:
    """docker-compose.yml with what must be set in its environment, and nothing else."""
    return compose.read(TOP / "docker-compose.yml", SECRETS)
