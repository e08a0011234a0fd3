"""./start and ./test: what they need is there when they run, and made only when it is not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy import small_project

PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")

NOBODY = 65534


class Run(NamedTuple):
    program: str
    arguments: list[str]
    directory: str
    config: str | None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return small_project.make(tmp_path / "a project")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory for PATH, with what the commands need of a system but no Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname"):
        program = shutil.which(name)
        assert program
        (tools / name).symlink_to(program)
    return tools


def environment(**more: str) -> dict[str, str]:
    """An empty one: what a command finds on the path, and a home."""
    return {"PATH": f"{PYTHON.parent}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **more}


def command(path: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [path, *arguments], cwd="/", env=environment(**more), stdin=subprocess.DEVNULL, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(path: Path, *arguments: str, **more: str) -> Run:
    """What the program that the command ends in was given."""
    process = command(path, *arguments, **more)
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    (program, *given), directory, config = json.loads(printed)
    return Run(program, given, directory, config)


def refusal(path: Path, **more: str) -> str:
    """The last line of a command that fails."""
    process = command(path, **more)
    printed, errors = process.communicate(timeout=100)
    assert (process.returncode, printed) == (1, ""), errors
    assert "Traceback" not in errors
    return errors.splitlines()[-1]


def builds(project: Path) -> int:
    return len((project / "builds").read_text().split())


def test_they_run_the_server_and_the_tests_with_their_options(project: Path) -> None:
    program = str(project / ".venv" / "bin" / "sync-server")
    arguments = ["serve", "--port", "8080", "a b"]
    assert run(project / "start", "--port", "8080", "a b") == Run(program, arguments, "/", str(project / "config.json"))
    assert run(project / "start", SYNC_SERVER_CONFIG="/x.json").config == "/x.json"
    ran = run(project / "test", "-n", "0", "tests/sync")
    assert (ran.program, ran.directory) == (".venv/bin/pytest", str(project))
    assert ran.arguments[-3:] == ["-n", "0", "tests/sync"], "an option that is given later wins"


def test_they_install_once_and_again_when_what_is_wanted_has_changed(project: Path) -> None:
    for name in ("start", "start"):
        run(project / name)
    assert builds(project) == 1
    for name in ("test", "start", "test"):  # what the tests need is installed beside the rest, and stays
        run(project / name)
    assert builds(project) == 2
    for number, changed in enumerate(("constraints.txt", "pyproject.toml"), start=3):
        with (project / changed).open("a") as file:
            file.write("\n# changed\n")
        run(project / "start")
        run(project / "test")
        assert builds(project) == number


@pytest.mark.long
def test_a_repository_that_was_moved_goes_on_working(project: Path) -> None:
    run(project / "start")
    moved = project.rename(project.with_name("moved"))
    assert run(moved / "start").program == str(moved / ".venv" / "bin" / "sync-server")


def test_an_installation_that_was_cut_off_is_made_good(project: Path) -> None:
    (project / "hang").touch()
    process = command(project / "start")
    wait_for(project / "builds")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (project / "hang").unlink()
    leftover = project / ".venv" / "half a file"
    leftover.touch()
    run(project / "start")
    assert not leftover.exists()


@pytest.mark.long
def test_an_update_that_was_cut_off_is_made_good(project: Path) -> None:
    run(project / "start")
    (project / "hang").touch()
    (project / "builds").unlink()
    (project / "constraints.txt").write_text("# changed\n")
    process = command(project / "start")
    wait_for(project / "builds")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (project / "hang").unlink()
    run(project / "start")
    assert builds(project) == 2


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_of_two_at_once_one_installs_and_both_run(project: Path) -> None:
    processes = [command(project / "start") for _ in range(2)]
    ends = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert builds(project) == 1


@pytest.mark.long
def test_an_installation_that_fails_says_so_and_is_tried_again(project: Path) -> None:
    (project / "constraints.txt").write_text("this is no version\n")
    assert refusal(project / "start") == "start: installing failed, see above; once that is mended, run ./start again"
    (project / "constraints.txt").write_text("")
    run(project / "start")


def test_without_a_python_that_is_new_enough_the_answer_is_one_line(project: Path, tools: Path) -> None:
    wanted = "start: needs Python 3.11 or later"
    assert refusal(project / "start", PATH=str(tools)).startswith(wanted)
    program(tools / "python3", "exit 1  # too old")
    program(tools / "python3.12", "echo 'no such version' >&2; exit 127")
    assert refusal(project / "start", PATH=str(tools)).startswith(wanted)


def test_a_version_manager_s_empty_shim_is_passed_over(project: Path, tools: Path) -> None:
    program(tools / "python3", "echo 'no such version' >&2; exit 127")
    program(tools / "python3.11", '[ "$2" = -c ] || { echo "$0 runs $2" >&2; exit 1; }')
    assert refusal(project / "start", PATH=str(tools)) == f"{tools}/python3.11 runs {project}/.ci/environment.py"


def test_a_python_without_venv_is_told_from_others(project: Path, tools: Path) -> None:
    # as Debian's without the package python3-venv
    without = (
        "import importlib.util as u, runpy, sys; find = u.find_spec; "
        "u.find_spec = lambda name: None if name == 'ensurepip' else find(name); sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    program(tools / "python3", f'if [ "$2" = -c ]; then exit 0; fi; shift; exec "{PYTHON}" -I -c "{without}" "$@"')
    assert refusal(project / "start", PATH=str(tools)).endswith("(on Debian and Ubuntu: apt install python3-venv)")


@pytest.mark.long
def test_what_is_in_the_way_is_cleared_away(project: Path) -> None:
    (project / ".venv").write_text("no directory")
    run(project / "start")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_named(project: Path) -> None:
    project.chmod(0o500)
    assert str(project) in refusal(project / "start")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.long
def test_they_work_for_an_ordinary_user(project: Path) -> None:
    for directory in project.parents:
        directory.chmod(directory.stat().st_mode | 0o001)
    for path in (project, *project.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    if as_nobody("python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))").returncode != 0:
        pytest.skip("there is no Python here that an ordinary user could run")
    done = as_nobody(str(project / "start"), HOME=str(project))
    assert done.returncode == 0, done.stderr
    assert (project / ".venv").stat().st_uid == NOBODY


def as_nobody(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", **more}
    return subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], env=variables, cwd="/", capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
