"""The server's secrets: made once, kept to itself."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accounts.calls import Calls
from accounts.conftest import Serve
from accounts.test_refresh import claims_of
from accounts.test_tokens import signed
from conftest import start_server
from postgres import Postgres
from sync_server import keys
from sync_server.config import Config, ConfigError, load
from sync_server.keys import Keys

ACCESS, REFRESH = "access-secret-" + "a" * 32, "refresh-secret-" + "r" * 32


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    yield
    os.umask(before)


def config_in(directory: Path, **server: Any) -> Config:
    path = directory / "config.json"
    path.write_text(json.dumps({"server": server, "db": {"realms": {"main": "embedded"}}}))
    return load(path)


def digest(made: Keys) -> bytes:
    return made.digest("test")


def test_missing_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    with umask(0):
        first = keys.load(config)
    file = tmp_path / "data" / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.read_bytes()
    second = keys.load(config)
    assert (first.access, first.refresh, digest(first)) == (second.access, second.refresh, digest(second))
    assert file.read_bytes() == written
    assert list(file.parent.iterdir()) == [file]
    assert min(len(secret) for secret in json.loads(written).values()) >= 32


def test_every_server_makes_secrets_of_its_own(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(keys.load(config_in(tmp_path / name)))
    assert len({made[0].access, made[0].refresh, made[1].access, made[1].refresh}) == 4
    assert digest(made[0]) != digest(made[1])


def test_processes_that_start_at_once_have_the_same_secrets(tmp_path: Path) -> None:
    config_in(tmp_path)
    program = (
        "import pathlib, sys\n"
        "from sync_server import config, keys\n"
        "loaded = config.load(pathlib.Path('config.json'))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(keys.load(loaded).digest('test').hex())\n"
    )
    start = [sys.executable, "-c", program]
    processes = [
        subprocess.Popen(start, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = {process.communicate()[0] for process in processes}
    assert printed == {digest(keys.load(load(tmp_path / "config.json"))).hex() + "\n"}
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["secrets.json"]


def test_configured_secrets_are_used_and_nothing_is_written(serve: Serve) -> None:
    server = serve(secret_key=ACCESS, secret_key_refresh=REFRESH)
    phone = server.calls.registered()
    login = server.calls.login(phone)
    own = Keys(ACCESS, REFRESH)
    assert server.calls.cancel(phone, signed(own, "access", claims_of(login.access))).error == "ok"
    assert server.calls.refresh(signed(own, "refresh", claims_of(login.refresh))).error == "ok"
    assert not (server.directory / "data" / "secrets.json").exists()


def test_one_configured_secret_is_joined_by_a_made_one(tmp_path: Path) -> None:
    made = keys.load(config_in(tmp_path, secret_key=ACCESS))
    stored = json.loads((tmp_path / "data" / "secrets.json").read_bytes())
    expected = Keys(ACCESS, stored["secret_key_refresh"])
    assert (made.access, made.refresh, digest(made)) == (expected.access, expected.refresh, digest(expected))


def test_tokens_of_another_servers_keys_are_void(serve: Serve) -> None:
    """Even on the same database, with the same users, clients and claims."""
    one = serve()
    two = serve(dsn=one.config["db"]["realms"]["main"])
    phone = one.calls.registered()
    here, there = one.calls.login(phone), two.calls.login(phone)
    for server, token in ((one, there), (two, here)):
        assert server.calls.cancel(phone, token.access).error == "token_rejected"
        assert server.calls.refresh(token.refresh).error == "token_rejected"
    assert one.calls.cancel(phone, here.access).error == "ok"
    assert two.calls.refresh(there.refresh).error == "ok"


def test_tokens_outlive_the_server_process(postgres: Postgres, tmp_path: Path) -> None:
    config = {
        "server": {"bcrypt_rounds": 4},
        "db": {"realms": {"main": postgres.create_database("accounts_restarted")}},
    }
    process = start_server(tmp_path, config)
    calls = Calls(process.url, "main")
    phone = calls.registered()
    login = calls.login(phone)
    for _ in range(2):
        calls.close()
        assert process.stop() == 0
        process = start_server(tmp_path, config)
        calls = Calls(process.url, "main")
        assert calls.cancel(phone, login.access).error == "ok"
        assert calls.refresh(login.refresh).error == "ok"
    calls.close()
    assert process.stop() == 0


def test_short_secrets_work_and_are_warned_of(serve: Serve) -> None:
    server = serve(secret_key="short-access", secret_key_refresh="short-refresh")
    phone = server.calls.registered()
    assert server.calls.refresh(server.calls.login(phone).refresh).error == "ok"
    for name in ("secret_key", "secret_key_refresh"):
        assert f'"key": "server.{name}"' in server.log
    assert "weak_secret" in server.log
    assert "short-" not in server.log + "".join(server.printed)


@pytest.mark.parametrize("name", ["secret_key", "secret_key_refresh"])
def test_one_short_secret_is_warned_of_too(serve: Serve, name: str) -> None:
    settings: dict[str, Any] = {name: "short"}
    server = serve(**settings)
    assert "weak_secret" in server.log
    assert f'"key": "server.{name}"' in server.log


def test_secrets_are_in_no_log_and_no_representation(serve: Serve) -> None:
    server = serve(secret_key=ACCESS, secret_key_refresh=REFRESH)
    phone = server.calls.registered(password="the-password")
    login = server.calls.login(phone)
    server.calls.refresh("nonsense")
    server.calls.post("/login/main", b"\xff")
    loaded = load(server.directory / "config.json")
    made = keys.load(loaded)
    shown = "".join([repr(loaded), str(loaded), f"{loaded.server}", repr(made), str(made), server.log, *server.printed])
    forms = [ACCESS, REFRESH, made.access.hex(), made.refresh.hex(), repr(made.access), repr(made.refresh)]
    for secret in [*forms, "the-password", login.access, login.refresh, phone.email]:
        assert secret not in shown


DAMAGED = [b"", b"{", b"[]", b'{"secret_key": "visible-secret"}', b'{"secret_key": "", "secret_key_refresh": ""}']
DAMAGED += [json.dumps({"secret_key": "visible-secret", "secret_key_refresh": "x" * 32}).encode(), b"\xff\xfe"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_one_clear_line_without_its_content(tmp_path: Path, content: bytes) -> None:
    config = config_in(tmp_path)
    file = tmp_path / "data" / "secrets.json"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        keys.load(config)
    message = str(refused.value)
    assert str(file) in message
    assert "\n" not in message
    assert "visible" not in message
    assert file.read_bytes() == content


def test_a_directory_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match="cannot keep the server's secrets there"):
        keys.load(config_in(tmp_path))
