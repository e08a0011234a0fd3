"""What somebody gets who has just cloned the repository, or installs it in an environment of their own."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.conftest import TOP
from deploy.test_commands import command, environment

LISTENS = re.compile(r"listens on http://[^:]+:(\d+)")
INSTALLING = pytest.mark.timeout(600)  # the whole of what the server stands on, from the package index


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository without what git ignores, at a path with a space."""
    ignored = [line.strip("/") for line in (TOP / ".gitignore").read_text().splitlines()]

    def hidden(_: str, names: list[str]) -> list[str]:
        return [name for name in names if name == ".git" or any(fnmatch.fnmatch(name, pattern) for pattern in ignored)]

    return Path(shutil.copytree(TOP, tmp_path / "fresh copy", ignore=hidden))


@pytest.mark.long  # .ci/run itself begins with the same, and the image installs what serving needs
@INSTALLING
def test_one_command_serves_a_device_from_nothing(copy: Path) -> None:
    assert not (copy / ".venv").exists()
    for first in (True, False):
        process = command(copy / "start", "--host", "127.0.0.1", "--port", "0")
        try:
            register(port(process))
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert ("installing into" in errors) is first, errors
    assert (copy / "data" / "postgres").is_dir(), (
        "the data is beside the configuration, wherever the command was called"
    )


def port(process: subprocess.Popen[str]) -> int:
    """Where the server listens, once it does."""
    assert process.stdout
    for line in process.stdout:
        if found := LISTENS.search(line):
            return int(found[1])
    raise AssertionError(process.communicate())


def register(port: int) -> None:
    user = {"name": "Ann", "email": f"{uuid4().hex}@example.com", "password": "secret", "clientId": str(uuid4())}
    answer = httpx.post(f"http://127.0.0.1:{port}/register/default", json=user)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def virtual_environment(tmp_path: Path) -> Path:
    """An empty one; its directory of programs."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    return tmp_path / "venv" / "bin"


@pytest.mark.long
@INSTALLING
def test_the_wheel_is_whole_and_its_command_works_in_a_clean_environment(
    virtual_environment: Path, tmp_path: Path
) -> None:
    pip: list[str | Path] = [virtual_environment / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, TOP], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == wanted_in_wheel()
    constraints = TOP / "constraints.txt"
    subprocess.run([*pip, "install", "--constraint", constraints, wheel], check=True)
    (tmp_path / "config.json").write_text(json.dumps({"db": {"realms": {"default": "embedded"}}}))
    for arguments, wanted in ((["--version"], "0.1.0"), (["migrate"], "up to date"), (["check"], "All is well")):
        done = subprocess.run(
            [virtual_environment / "sync-server", *arguments],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, wanted in done.stdout) == (0, True), done


def wanted_in_wheel() -> set[str]:
    source, sql = TOP / "src", TOP / "sql"
    package = {file.relative_to(source) for file in (source / "sync_server").rglob("*") if file.is_file()}
    statements = {Path("sync_server/sql", file.relative_to(sql)) for file in sql.rglob("*.sql")}
    assert {Path("sync_server/py.typed"), Path("sync_server/sql/migrations/0001_initial.sql")} <= package | statements
    return {str(path) for path in package | statements if path.suffix != ".pyc"}


def test_every_package_is_pinned_to_the_version_that_is_tested() -> None:
    lines = [line for line in (TOP / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    parts = [line.partition("==") for line in lines]
    pins: dict[str, str] = {canonicalize_name(name): version for name, _, version in parts}
    needed = closure("sync-server", {"test"})
    assert {name: pins.get(name) for name in needed} == {name: distribution(name).version for name in needed}


def closure(name: str, extras: set[str]) -> set[str]:
    """The packages that a package takes, of the ones for this system."""
    found: dict[str, set[str]] = {}
    waiting = [(name, extras)]
    while waiting:
        name, extras = waiting.pop()
        if name in found and extras <= found[name]:
            continue
        found[name] = found.get(name, set()) | extras
        for requirement in map(Requirement, distribution(name).requires or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonicalize_name(requirement.name), requirement.extras))
    return found.keys() - {"sync-server"}


def test_ci_and_the_commands_can_be_executed() -> None:
    assert [
        name for name in ("start", "test", "bench", ".ci/run", ".ci/environment") if not os.access(TOP / name, os.X_OK)
    ] == []
