"""deploy/sync-server.service, for systemd. No systemd ran it here; what it says is held against the server."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from sync_server import config

TOP = Path(__file__).parents[2]
FILE = TOP / "deploy" / "sync-server.service"


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FILE)
    return parser["Service"]


def test_systemd_reads_it(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd here")
    copy = tmp_path / FILE.name
    copy.write_text(FILE.read_text().replace("/opt/sync-server/.venv/bin/sync-server", "/bin/true"))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_it_does_to_the_server_is_right(service: configparser.SectionProxy) -> None:
    """It starts it by that command and variable, tells of changes by SIGHUP, and waits for longer than the server takes."""
    name, _, path = service["Environment"].partition("=")
    assert (name, Path(path).parent) == ("SYNC_SERVER_CONFIG", Path(service["WorkingDirectory"]))
    assert Path(path).parent == Path("/var/lib", service["StateDirectory"])
    program, *arguments = service["ExecStart"].split()
    assert (Path(program).name, arguments) == ("sync-server", ["serve"])
    assert service["ExecReload"].split()[1:] == ["-HUP", "$MAINPID"]
    assert int(service["TimeoutStopSec"]) > config.Server().grace + 20
    assert service["KillMode"] == "mixed", "the embedded PostgreSQL is ended by the server"


def test_the_readme_installs_it_where_it_looks(service: configparser.SectionProxy) -> None:
    readme = (TOP / "README.md").read_text()
    for told in (
        f"useradd --system --home-dir {service['WorkingDirectory']}",
        service["ExecStart"].split(" ")[0],
        service["Environment"].partition("=")[2],
        "deploy/sync-server.service /etc/systemd/system/",
    ):
        assert told in readme
