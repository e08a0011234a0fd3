"""`serve`: where it listens, what it says, and whose word counts."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from importlib.metadata import version

import httpx
import psycopg
import pytest

from postgres import database_of, superuser
from server.calls import register
from server.operating import Operator, config_with, free_port, wait_for

SECRETS = {
    "password": "pass-w0rd-of-the-database",
    "secret": "secret-of-the-tokens-0123456789abcdef",
    "refresh": "refresh-of-the-tokens-0123456789abcdef",
    "mail": "pass-w0rd-of-the-mail",
}


def with_password(url: str, password: str) -> str:
    """The URL with a password; a server that trusts its socket takes any."""
    return url.replace("@/", f":{password}@/", 1)


def test_says_where_it_listens_and_what_it_serves(operator: Operator, new_database: Callable[[], str]) -> None:
    shared = new_database()
    running = operator.serve(config_with({"Notes": shared, "todos": shared, "own": {"url": shared, "schema": "own"}}))
    assert running.end() == 0
    assert f"sync-server {version('sync-server')} listens on {running.url}\n" in running.out
    for realm in ("notes", "todos", "own"):
        assert f"  realm {realm} (PostgreSQL URL)\n" in running.out
    assert "  realms notes, todos name the same database and share users and rows\n" in running.out
    assert f"mails are written to {operator.directory / 'data' / 'outbox'}\n" in running.out
    assert running.lines[-1] == "sync-server has ended\n"


def test_no_secret_is_ever_said_or_logged(operator: Operator, empty_url: str) -> None:
    url = with_password(empty_url, SECRETS["password"])
    unreachable = f"postgresql://user:{SECRETS['password']}@127.0.0.1:{free_port()}/db"
    config = config_with(
        {"default": url, "down": unreachable}, secret_key=SECRETS["secret"], secret_key_refresh=SECRETS["refresh"]
    )
    mail = {
        "smtp": "127.0.0.1",
        "port": free_port(),
        "username": "user",
        "password": SECRETS["mail"],
        "security": "plain",
    }
    running = operator.serve({**config, "email": mail})
    assert register(running.url).status_code == 200
    forgotten = httpx.post(f"{running.url}/password/default/forgotten", json={"email": "ann1@example.com"})
    assert forgotten.status_code == 200
    assert register(running.url, "down").status_code == 503
    _cut_connections(empty_url)
    assert register(running.url, number=2).status_code == 200
    wait_for(lambda: "mail" in running.log)
    assert running.end() == 0
    checked = operator.run("check")
    assert checked.code == 1
    said = running.out + running.log + checked.out + checked.err
    assert "127.0.0.1" in said  # so that there was something to say
    for name, secret in SECRETS.items():
        assert secret not in said, name
    assert "postgresql://" not in said


def _cut_connections(url: str) -> None:
    with psycopg.connect(superuser(url), autocommit=True) as connection:
        end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        assert connection.execute(end, [database_of(url)]).fetchall() != [(0,)]


@pytest.mark.parametrize(
    ("argument", "variable", "key"), [(True, True, True), (False, True, True), (False, False, True)],
    ids=["--port", "PORT", "server.port"],
)  # fmt: skip
def test_port_precedence(operator: Operator, empty_url: str, argument: bool, variable: bool, key: bool) -> None:
    ports = [free_port(), free_port(), free_port()]
    operator.write(config_with({"default": empty_url}, **({"port": str(ports[2])} if key else {})))
    arguments = ["--host", "127.0.0.1", *(["--port", str(ports[0])] if argument else [])]
    environment = {"PORT": str(ports[1])} if variable else {}
    running = operator.launch(*arguments, environment=environment).until_it_listens()
    assert running.port == ports[[argument, variable, key].index(True)]


def test_host_of_the_configuration_and_of_the_command_line(operator: Operator, empty_url: str) -> None:
    config = config_with({"default": empty_url}, host="127.0.0.2", port=free_port())
    operator.write(config)
    running = operator.launch("--port", "0")
    wait_for(lambda: running.port)
    assert running.host == "127.0.0.2"
    assert httpx.get(f"http://127.0.0.2:{running.port}").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.url)
    assert operator.serve(config).host == "127.0.0.1"


def has_ipv6() -> bool:
    try:
        free_port(socket.AF_INET6, "::1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_listens_on_ipv6(operator: Operator, empty_url: str, host: str) -> None:
    operator.write(config_with({"default": empty_url}))
    running = operator.launch("--host", host, "--port", "0")
    wait_for(lambda: running.port)
    assert running.host == "[::1]"
    assert wait_for(lambda: httpx.get(f"http://[::1]:{running.port}").status_code == 200)


def test_config_by_variable_and_by_option_and_paths_relative_to_it(operator: Operator, empty_url: str) -> None:
    elsewhere = operator.directory / "etc"
    elsewhere.mkdir()
    operator.write({**config_with({"default": empty_url}), "email": {"apps": {"default": "A"}}}, "etc/sync.json")
    operator.write("{}", "config.json")
    running = operator.launch("--host", "127.0.0.1", "--port", "0", environment={"SYNC_SERVER_CONFIG": "etc/sync.json"})
    running.until_it_listens()
    assert (elsewhere / "data" / "secrets.json").exists()
    assert not (operator.directory / "data").exists()
    by_option = operator.run("check", "--config", "config.json", environment={"SYNC_SERVER_CONFIG": "etc/sync.json"})
    assert by_option.complaint.startswith("sync-server: config.json: ")


def test_runs_from_another_directory_with_its_data_elsewhere(operator: Operator, empty_url: str) -> None:
    data = operator.directory / "var" / "lib" / "sync"
    path = operator.write(config_with({"default": empty_url}, data_dir=str(data)))
    other = operator.directory / "other"
    other.mkdir()
    running = operator.launch("--config", str(path), "--host", "127.0.0.1", "--port", "0", cwd=other).until_it_listens()
    assert register(running.url).status_code == 200
    assert running.end() == 0
    assert list(other.iterdir()) == []
    assert json.loads((data / "secrets.json").read_text()).keys() == {"secret_key", "secret_key_refresh"}
    assert (data / "secrets.json").stat().st_mode & 0o777 == 0o600
