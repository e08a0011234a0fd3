"""docker-compose.yml, with the configuration and the variables that belong to it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import compose, dockerfile
from deploy.conftest import SECRETS, TOP
from deploy.databases import Database
from sync_server import config
from sync_server.config import Config
from sync_server.embedded import find_binaries

FILE = TOP / "docker-compose.yml"
CONFIG = TOP / "deploy" / "config.json"
EXAMPLE = TOP / "deploy" / "env.example"
SMTP = {
    "SMTP_HOST": "mail.example.com",
    "SMTP_PORT": "465",
    "SMTP_USERNAME": "postman",
    "SMTP_PASSWORD": "letters",
    "SMTP_FROM": "post@example.com",
}


def example() -> dict[str, str]:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def configured(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Config:
    """The server's configuration, with the environment that the compose file gives it and nothing else."""
    for name in [*example(), "DATABASE_URL", "PGPASSWORD"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in compose.read(FILE, {**SECRETS, **variables})["services"]["server"]["environment"].items():
        monkeypatch.setenv(name, value)
    return config.load(CONFIG)


KEYS = {
    "service": {
        "build", "image", "restart", "depends_on", "ports", "networks", "environment", "volumes", "read_only", "tmpfs",
        "cap_drop", "security_opt", "stop_grace_period", "user", "healthcheck", "shm_size",
    },
    "healthcheck": {"test", "interval", "timeout", "retries", "start_period"},
}  # fmt: skip
"""Of the Compose specification, what we use: without an engine at hand, a slip of the pen shows here."""


def test_its_keys_are_those_of_the_specification(project: dict[str, Any]) -> None:
    assert project.keys() == {"name", "services", "networks", "volumes"}
    assert not [key for service in project["services"].values() for key in service.keys() - KEYS["service"]]
    assert project["services"]["database"]["healthcheck"].keys() == KEYS["healthcheck"]
    assert project["networks"] == {"backend": {"internal": True}}


def test_every_variable_is_explained_and_no_other() -> None:
    variables = compose.variables(FILE)
    assert example() == {name: default or "" for name, default in variables.items()}
    assert {name for name, default in variables.items() if default is None} == SECRETS.keys()


@pytest.mark.parametrize("name", SECRETS)
def test_it_does_not_start_without_its_secrets(name: str) -> None:
    with pytest.raises(compose.Missing, match=f"^{name}: .*env.example"):
        compose.read(FILE, {**SECRETS, name: ""})


def test_the_configuration_stands_with_the_secrets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = configured(monkeypatch)
    assert loaded.email.smtp == ""
    keys = (loaded.server.secret_key, loaded.server.secret_key_refresh)
    assert [key.reveal() for key in keys if key] == [SECRETS["SECRET_KEY"], SECRETS["SECRET_KEY_REFRESH"]]


def test_the_configuration_takes_a_mail_server_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    email = configured(monkeypatch, **SMTP).email
    assert [email.smtp, str(email.port), email.username, email.password.reveal(), email.from_email] == [*SMTP.values()]


def test_what_the_configuration_and_the_compose_file_say_of_the_image_is_so(
    monkeypatch: pytest.MonkeyPatch, project: dict[str, Any]
) -> None:
    image = dockerfile.read(TOP / "Dockerfile")[-1]
    service = project["services"]["server"]
    loaded = configured(monkeypatch)
    assert str(loaded.server.port) == image.last("EXPOSE").value == service["ports"][0].split(":")[1]
    targets = dict(reversed(volume.split(":")[:2]) for volume in service["volumes"])
    assert targets == {loaded.server.data_dir: "data", "/etc/sync-server/config.json": "./deploy/config.json"}
    assert loaded.server.data_dir in image.last("VOLUME").words
    settings = dict(word.split("=", 1) for word in image.last("ENV").words)
    assert settings["SYNC_SERVER_CONFIG"] in targets
    assert (TOP / "deploy" / "config.json").stat().st_mode & 0o004, "the container's user is none of this machine's"


def test_the_server_gets_longer_to_end_than_it_takes(monkeypatch: pytest.MonkeyPatch, project: dict[str, Any]) -> None:
    seconds = int(project["services"]["server"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= configured(monkeypatch).server.grace + 10


def test_images_are_pinned(project: dict[str, Any]) -> None:
    version = re.search(r'(?m)^version = "(.+)"$', (TOP / "pyproject.toml").read_text())
    assert version
    assert project["services"]["server"]["image"] == f"sync-server:{version[1]}"
    assert re.fullmatch(r"postgres:\d+\.\d+-[a-z]+", project["services"]["database"]["image"])


def test_no_secret_stands_in_a_file() -> None:
    text = FILE.read_text() + CONFIG.read_text() + EXAMPLE.read_text()
    for line in text.splitlines():
        if found := re.fullmatch(r'\s*"?\w*(?:PASSWORD|SECRET|password|secret)\w*"?\s*[:=]\s*(.*)', line):
            assert re.fullmatch(r'"?\$\{.*|', found[1]), line
    assert not re.search(r"://[^/\s]+:[^/\s]+@", text), "a URL holds a password"


def test_services_have_no_more_rights_than_they_need(project: dict[str, Any]) -> None:
    services = project["services"]
    assert services.keys() == {"server", "database"}
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert service["restart"] == "unless-stopped"
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "devices"}
    assert services["database"]["user"] == "postgres"


def test_the_database_is_reached_by_the_server_only(project: dict[str, Any]) -> None:
    database, server = project["services"]["database"], project["services"]["server"]
    assert "ports" not in database
    assert database["networks"] == ["backend"]
    assert "backend" in server["networks"]
    assert project["networks"]["backend"]["internal"] is True


def test_the_data_outlives_the_containers(project: dict[str, Any]) -> None:
    volumes = {name: service["volumes"][0].split(":") for name, service in project["services"].items()}
    assert volumes["database"] == ["database", "/var/lib/postgresql"], "where images from PostgreSQL 18 on keep it"
    assert {name for name, _ in volumes.values()} == project["volumes"].keys()


def test_the_server_waits_for_a_database_that_is_ready(project: dict[str, Any], database: Database) -> None:
    assert project["services"]["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    kind, *command = project["services"]["database"]["healthcheck"]["test"]
    assert kind == "CMD"
    assert healthy(command, database.port)
    database.stop()
    try:
        assert not healthy(command, database.port)
    finally:
        database.start()


def healthy(command: list[str], port: int) -> bool:
    """Whether the health check finds the database, which in its container has the usual port."""
    program = find_binaries() / command[0]
    done = subprocess.run([program, *command[1:]], env={"PGPORT": str(port)}, capture_output=True, check=False)
    return done.returncode == 0


def test_the_client_of_the_engine_reads_it(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no docker compose here")
    values = tmp_path / "env"
    values.write_text("".join(f"{name}=x\n" for name in SECRETS))
    command = [docker, "compose", "--file", str(FILE), "--env-file", str(values), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
