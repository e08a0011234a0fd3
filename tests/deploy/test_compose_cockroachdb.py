"""deploy/cockroachdb/docker-compose.yml: three nodes, what joins them, and the server. No engine ran it here."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pglast
import psycopg.conninfo
import pytest

from deploy import compose
from deploy.conftest import SECRETS, TOP
from deploy.test_compose import KEYS, SMTP
from sync_server import config

FILE = TOP / "deploy" / "cockroachdb" / "docker-compose.yml"
NODES = ("node1", "node2", "node3")
ONLY_KEYS = {"command", "entrypoint"}


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return compose.read(FILE, SECRETS)


def test_its_keys_are_those_of_the_specification(cluster: dict[str, Any]) -> None:
    assert cluster.keys() == {"name", "x-node", "services", "networks", "volumes"}
    for service in cluster["services"].values():
        assert service.keys() <= KEYS["service"] | ONLY_KEYS
        assert service.get("healthcheck", {}).keys() <= KEYS["healthcheck"]
    assert cluster["services"].keys() == {"server", "init", *NODES}


def test_every_variable_is_one_that_the_example_explains() -> None:
    example = (TOP / "deploy" / "env.example").read_text()
    assert not [name for name in compose.variables(FILE) if not re.search(rf"(?m)^{name}=", example)]


@pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEY_REFRESH"])
def test_it_does_not_start_without_its_secrets(name: str) -> None:
    with pytest.raises(compose.Missing, match=f"^{name}: .*env.example"):
        compose.read(FILE, {**SECRETS, name: ""})


def test_each_node_is_a_node_of_the_one_cluster(cluster: dict[str, Any]) -> None:
    for name in NODES:
        program, *options = shlex.split(cluster["services"][name]["command"])
        assert program == "start"
        given = dict(option.removeprefix("--").split("=", 1) for option in options if "=" in option)
        assert given["advertise-addr"] == name
        assert given["join"].split(",") == list(NODES)
        assert cluster["services"][name]["volumes"] == [f"{name}:/cockroach/cockroach-data"]
    assert cluster["volumes"].keys() == {"data", *NODES}


def test_images_are_pinned_to_a_version_that_is_supported(cluster: dict[str, Any]) -> None:
    images = {service["image"] for name, service in cluster["services"].items() if name != "server"}
    assert len(images) == 1
    assert re.fullmatch(r"cockroachdb/cockroach:v23\.2\.\d+", images.pop())
    ours = compose.read(TOP / "docker-compose.yml", SECRETS)["services"]["server"]
    assert cluster["services"]["server"]["image"] == ours["image"]


def test_the_server_finds_the_nodes_and_is_let_in(cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster["services"]["server"]["environment"].items():
        monkeypatch.setenv(name, value)
    for name in SMTP:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMTP_HOST", "")
    for name, value in compose.read(FILE, SECRETS)["services"]["server"]["environment"].items():
        monkeypatch.setenv(name, value)
    (realm,) = config.load(TOP / "deploy" / "config.json").db.realms.values()
    url = psycopg.conninfo.conninfo_to_dict(realm.url.reveal())
    assert str(url["host"]).split(",") == list(NODES)
    assert url["user"] == url["dbname"] == "sync_server"


def test_what_makes_the_database_is_sql(cluster: dict[str, Any]) -> None:
    (script,) = cluster["services"]["init"]["command"]
    text = re.search(r'--execute "(.*?)"', script, re.DOTALL)
    assert text
    made = [statement.strip() for statement in text[1].split(";")]
    assert made[0] == "CREATE DATABASE IF NOT EXISTS sync_server"
    for statement in made:  # IF NOT EXISTS here is CockroachDB's own
        pglast.parse_sql(statement.replace("IF NOT EXISTS ", ""))


def test_a_push_fits_into_a_statement(cluster: dict[str, Any]) -> None:
    (script,) = cluster["services"]["init"]["command"]
    given = re.search(r"SET CLUSTER SETTING sql.conn.max_read_buffer_message_size = '(\d+)MiB'\"", script)
    assert given
    assert int(given[1]) * 1024 * 1024 >= 2 * config.Server().max_body


def test_services_have_no_more_rights_than_they_need(cluster: dict[str, Any]) -> None:
    for name, service in cluster["services"].items():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "devices"}
        assert name == "server" or ("ports" not in service and service["networks"] == ["backend"])
    assert cluster["networks"]["backend"] == {"internal": True}


def test_the_server_is_that_of_the_other_compose_file(cluster: dict[str, Any]) -> None:
    """But for the database, and for where the files are."""
    ours = compose.read(TOP / "docker-compose.yml", SECRETS)["services"]["server"]
    theirs = cluster["services"]["server"]
    different = {"build", "depends_on", "environment", "volumes"}
    assert {key: ours[key] for key in ours.keys() - different} == {
        key: theirs[key] for key in theirs.keys() - different
    }
    assert (FILE.parent / theirs["build"]).resolve() == TOP
    assert (FILE.parent / theirs["volumes"][1].split(":")[0]).resolve() == TOP / "deploy" / "config.json"
