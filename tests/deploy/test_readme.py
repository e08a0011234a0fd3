"""What the README says is so."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import msgspec
import pytest

from conftest import start_server
from sync_server import cli, config
from sync_server.embedded import EmbeddedPostgres

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text()


def quickstart() -> str:
    found = re.search(r"<!-- tests/deploy runs this block -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("shell", ["sh", pytest.param("bash", marks=pytest.mark.long)])
def test_the_five_minutes_work_when_pasted(shell: str, postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    url = postgres.create_database(f"readme_{shell}")
    server = start_server(tmp_path, {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"default": url}}})
    try:
        environment = {**os.environ, "URL": server.url}
        ran = subprocess.run(
            [shell], input=quickstart(), env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert not ran.stderr
        answers = [json.loads(line) for line in ran.stdout.splitlines() if line]
        assert not [answer for answer in answers if answer.get("code", 200) != 200]
        pulled = [answer["data"] for answer in answers if "data" in answer]
        assert [len(rows) for rows in pulled] == [0, 1], "the phone pulls nothing, the tablet the note"
        assert pulled[1][0]["rowData"] == {"id": "note-1", "text": "buy milk"}
        for _ in range(100):
            if mails := list((tmp_path / "data" / "outbox").glob("*.eml")):
                break
            subprocess.run(["sleep", "0.1"], check=True)
        assert len(mails) == 1
    finally:
        server.stop()


def keys_of(kind: type[msgspec.Struct], prefix: str) -> list[str]:
    return [f"{prefix}.{field.encode_name}" for field in msgspec.structs.fields(kind)]


@pytest.mark.parametrize(
    "key",
    [
        *keys_of(config.Server, "server"),
        *keys_of(config.Database, "db"),
        *keys_of(config.RealmSettings, "db.realms.<realm>"),
        *keys_of(config.Email, "email"),
    ],
)
def test_every_key_of_the_configuration_is_described(key: str) -> None:
    assert f"`{key}`" in README


def test_no_key_is_described_that_does_not_exist() -> None:
    known = {
        *keys_of(config.Server, "server"),
        *keys_of(config.Database, "db"),
        *keys_of(config.RealmSettings, "db.realms.<realm>"),
        *keys_of(config.Email, "email"),
    }
    described = set(re.findall(r"`((?:server|db|email)\.[A-Za-z_.<>]+)`", README))
    assert described <= known


def test_the_files_that_it_names_are_there() -> None:
    top = Path(__file__).parents[2]
    for name in [
        *re.findall(r"`((?:docs|benchmarks|deploy|src)/[\w./-]+)`", README),
        "deploy/env.example",
        "start",
        "bench",
        "test",
    ]:
        assert (top / name).exists(), name


def commands_told() -> list[str]:
    """Calls of `sync-server` in README and docs; those in shell blocks up to what ends them in a shell."""
    found = []
    for file in (TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))):
        for block in re.findall(r"```sh\n(.*?)```", file.read_text(), re.DOTALL):
            found += re.findall(
                r"(?:sync-server|run --rm -T server) (?=[a-z])((?:\"[^\"]*\"|\$\([^)]*\)|[^|;<>&#')\n])+)", block
            )
        found += re.findall(r"`sync-server ([a-z][^`|]+)`", file.read_text())
    return [command.strip() for command in found]


def test_the_commands_that_are_told_exist_with_their_options() -> None:
    told = commands_told()
    assert len(told) > 20
    for line in told:
        command: click.Command = cli.commands
        words = shlex.split(line.replace("…", ""))
        if words[0] == "backup" and words[1] != "verify":
            words.insert(1, "take")
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, line
