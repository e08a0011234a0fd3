"""What a killed run leaves behind: stale files, a running postmaster, a hanging one, orphaned backends."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import psycopg
import pytest

import clusters
from sync_server.embedded import EmbeddedError, EmbeddedPostgres, find_binaries
from sync_server.embedded.processes import PidFile

OWNER = """
import sys
from pathlib import Path
from sync_server.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
server.create_database("default")
print("pid", server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose name is short enough for a socket in it, however long pytest's own are."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        yield Path(name).resolve()


@pytest.fixture
def server(place: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(clusters.put(place / "postgres"))
    yield server
    server.stop()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def left_by_a_killed_owner(directory: Path, stack: ExitStack) -> int:
    """The pid of a postmaster whose sync-server was killed."""
    command = [sys.executable, "-c", OWNER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        pid = announced(owner)
        stack.callback(end, pid, directory)
        owner.kill()
    return pid


def announced(owner: subprocess.Popen[bytes]) -> int:
    assert owner.stdout is not None
    return next(int(line.split()[1]) for line in owner.stdout if line.startswith(b"pid "))


def end(pid: int, directory: Path) -> None:
    if runs(pid, directory):
        os.kill(pid, signal.SIGKILL)


def runs(pid: int, directory: Path) -> bool:
    """Whether the process with this pid was started for this directory, by its command line."""
    command = ["ps", "-ww", "-p", str(pid), "-o", "args="]
    return str(directory) in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def kill(server: EmbeddedPostgres) -> None:
    """Kill the postmaster, as the kernel does when memory runs out, and its owner's knowledge of it."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.pid is not None:
        time.sleep(0.01)
    assert (server.directory / "postmaster.pid").exists()
    server.stop()


def write(server: EmbeddedPostgres, note: str) -> None:
    with psycopg.connect(server.create_database("default")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (note text)")
        connection.execute("INSERT INTO notes VALUES (%s)", [note])


def notes(server: EmbeddedPostgres) -> list[str]:
    with psycopg.connect(server.url("default")) as connection:
        return [note for (note,) in connection.execute("SELECT note FROM notes ORDER BY note")]


def test_a_killed_postmaster_recovers_what_was_committed(server: EmbeddedPostgres) -> None:
    server.start()
    write(server, "committed")
    kill(server)
    server.start()
    assert notes(server) == ["committed"]


def test_the_postmaster_of_a_killed_owner_is_adopted_and_stopped(server: EmbeddedPostgres, stack: ExitStack) -> None:
    pid = left_by_a_killed_owner(server.directory, stack)
    assert runs(pid, server.directory)
    server.start()
    assert server.pid == pid
    write(server, "through the adopted one")
    server.stop()
    assert not runs(pid, server.directory)
    server.start()
    assert notes(server) == ["through the adopted one"]


def test_an_adopted_one_with_a_private_socket_directory_cleans_up(place: Path, stack: ExitStack) -> None:
    server = EmbeddedPostgres(clusters.put(place / ("p" * 100)))
    stack.callback(server.stop)
    pid = left_by_a_killed_owner(server.directory, stack)
    server.start()
    assert server.pid == pid
    socket = Path(PidFile.read(server.directory).socket_directory)  # type: ignore[union-attr]
    assert socket.exists()
    server.stop()
    assert not socket.exists()


def test_a_leftover_that_hangs_is_ended(
    server: EmbeddedPostgres, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_server.embedded.server.ANSWER_LIMIT", 0.2)
    monkeypatch.setattr("sync_server.embedded.postmaster.IMMEDIATE_STOP_LIMIT", 0.5)
    pid = left_by_a_killed_owner(server.directory, stack)
    os.kill(pid, signal.SIGSTOP)
    server.start()
    assert server.pid != pid
    assert not runs(pid, server.directory)
    write(server, "works")


def test_a_leftover_that_is_shutting_down_is_waited_for(server: EmbeddedPostgres, stack: ExitStack) -> None:
    pid = left_by_a_killed_owner(server.directory, stack)
    os.kill(pid, signal.SIGINT)
    server.start()
    write(server, "works")
    assert server.pid is not None
    assert server.pid != pid


def slow_recovery(server: EmbeddedPostgres) -> dict[str, str]:
    """Let the next start recover from an archive that takes its time; returns the settings for it."""
    server.start()
    write(server, "kept")
    server.stop()
    shutil.copy(server.directory / "PG_VERSION", server.directory / "recovery.signal")
    owner = server.directory.stat()
    os.chown(server.directory / "recovery.signal", owner.st_uid, owner.st_gid)
    return {"restore_command": "sleep 0.4; false"}


def test_a_recovery_may_take_longer_than_a_start(
    server: EmbeddedPostgres, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovering = EmbeddedPostgres(server.directory, slow_recovery(server))
    stack.callback(recovering.stop)
    monkeypatch.setattr("sync_server.embedded.server.START_LIMIT", 0.6)
    started = time.monotonic()
    recovering.start()
    assert time.monotonic() - started > 1
    write(recovering, "and can be written to")


def test_a_recovery_without_end_is_given_up(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    recovering = EmbeddedPostgres(server.directory, slow_recovery(server))
    monkeypatch.setattr("sync_server.embedded.postmaster.RECOVERY_LIMIT", 0.3)
    with pytest.raises(EmbeddedError, match=r"did not accept connections in time: .*starting up"):
        recovering.start()
    assert not (server.directory / "postmaster.pid").exists()


def test_ctrl_c_during_a_start_leaves_no_postmaster(server: EmbeddedPostgres, stack: ExitStack) -> None:
    settings = slow_recovery(server)
    script = OWNER.replace("(Path(sys.argv[1]))", f"(Path(sys.argv[1]), {settings})")
    command = [sys.executable, "-c", script, str(server.directory)]
    owner = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE))
    stack.callback(owner.kill)
    pid_file = server.directory / "postmaster.pid"
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.005)
    pid = int(pid_file.read_text().split("\n")[0])
    stack.callback(end, pid, server.directory)
    owner.send_signal(signal.SIGINT)
    _, error = owner.communicate()
    assert b"KeyboardInterrupt" in error
    assert not runs(pid, server.directory), error.decode()
    assert not pid_file.exists()


def test_stop_cuts_a_start_in_another_thread_short(server: EmbeddedPostgres, stack: ExitStack) -> None:
    recovering = EmbeddedPostgres(server.directory, slow_recovery(server) | {"restore_command": "sleep 3; false"})
    stack.callback(recovering.stop)
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(recovering.start)
        while not recovering.running:
            time.sleep(0.01)
        pid = recovering.pid
        started = time.monotonic()
        recovering.stop()
        assert time.monotonic() - started < 60
        with pytest.raises(EmbeddedError):
            outcome.result()
    assert pid is not None
    assert not runs(pid, server.directory)
    (server.directory / "recovery.signal").unlink()
    server.start()
    assert notes(server) == ["kept"]


def test_a_postmaster_that_does_not_stop_is_ended(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_server.embedded.postmaster.FAST_STOP_LIMIT", 0.2)
    monkeypatch.setattr("sync_server.embedded.postmaster.IMMEDIATE_STOP_LIMIT", 0.5)
    server.start()
    write(server, "kept")
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not runs(pid, server.directory)
    server.start()
    assert notes(server) == ["kept"]


Stale = Literal["other program", "self", "parent", "dead", "zombie", "empty", "garbage", "pid only"]


@pytest.mark.parametrize(
    "stale",
    [
        "other program",
        *[pytest.param(stale, marks=pytest.mark.long) for stale in ("self", "parent", "dead", "empty", "pid only")],
        "zombie",
        "garbage",
    ],
)
def test_a_stale_pid_file_is_seen_through(server: EmbeddedPostgres, stack: ExitStack, stale: Stale) -> None:
    server.start()
    write(server, "kept")
    kill(server)
    # PostgreSQL sees only processes of its own account as rivals.
    account = server.directory.stat().st_uid if os.geteuid() == 0 else None
    stranger = stack.enter_context(subprocess.Popen(["sleep", "600"], user=account))
    stack.callback(stranger.kill)
    if stale in ("dead", "zombie"):
        stranger.kill()
        if stale == "dead":
            stranger.wait()
    pid = {"self": os.getpid(), "parent": os.getppid()}.get(stale, stranger.pid)
    for path in (server.directory / "postmaster.pid", server.directory / ".s.PGSQL.5432.lock"):
        rest = path.read_bytes().partition(b"\n")[2]
        whole = b"%d\n" % pid + rest
        path.write_bytes({"empty": b"", "garbage": b"\xff\0x\ny", "pid only": b"%d\n" % pid}.get(stale, whole))
    server.start()
    assert notes(server) == ["kept"]
    assert server.pid != pid
    if stale not in ("dead", "zombie"):
        assert stranger.poll() is None, "the other program is left alone"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes work in a directory")
def test_a_backend_that_outlived_its_postmaster_is_ended(server: EmbeddedPostgres, stack: ExitStack) -> None:
    server.start()
    client = psycopg.connect(server.create_database("default"), autocommit=True)
    stack.callback(client.close)
    backend = client.info.backend_pid
    client.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000)")
    time.sleep(0.2)
    kill(server)
    assert Path(f"/proc/{backend}/exe").exists(), "busy, it did not notice"
    server.start()
    write(server, "works")
    assert not Path(f"/proc/{backend}/cwd").exists()


def test_a_directory_that_moved_while_its_postmaster_ran_is_used_again(
    server: EmbeddedPostgres, stack: ExitStack, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_server.embedded.server.ANSWER_LIMIT", 0.2)
    elsewhere = server.directory.rename(place / "elsewhere")
    pid = left_by_a_killed_owner(elsewhere, stack)
    elsewhere.rename(server.directory)
    server.start()
    write(server, "works")
    assert server.pid != pid
    assert not runs(pid, elsewhere)


def test_a_copy_of_a_running_cluster_leaves_the_original_alone(
    server: EmbeddedPostgres, stack: ExitStack, place: Path
) -> None:
    original = EmbeddedPostgres(server.directory.rename(place / "original"))
    stack.callback(original.stop)
    original.start()
    write(original, "both")
    original.stop()
    subprocess.run(["cp", "-a", original.directory, server.directory], check=True)
    original.start()  # a copy made while it runs has its pid file, with a pid and a socket that are alive
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        subprocess.run(["cp", "-a", original.directory / name, server.directory], check=True)
    server.start()
    write(server, "copy")
    assert original.pid is not None
    assert server.pid != original.pid
    assert (notes(original), notes(server)) == (["both"], ["both", "copy"])


def test_a_running_cluster_without_pid_file_is_not_started_twice(server: EmbeddedPostgres, stack: ExitStack) -> None:
    pid = left_by_a_killed_owner(server.directory, stack)
    (server.directory / "postmaster.pid").unlink()
    server.start()
    write(server, "works")
    assert server.pid != pid
    assert not runs(pid, server.directory)


def test_a_single_user_session_is_not_disturbed(server: EmbeddedPostgres, stack: ExitStack) -> None:
    server.start()
    server.stop()
    owner = server.directory.stat()
    root = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    program = find_binaries() / "postgres"
    session = stack.enter_context(
        subprocess.Popen([program, "--single", "-D", server.directory, "postgres"], cwd="/", stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, **root)  # type: ignore[call-overload]
    )  # fmt: skip
    stack.callback(session.kill)
    assert session.stdout.read(9)  # its prompt
    with pytest.raises(EmbeddedError, match=rf"single-user postgres \(process {session.pid}\)"):
        server.start()
    assert session.poll() is None


# Two at once


def test_a_second_owner_is_refused_and_harms_nothing(server: EmbeddedPostgres) -> None:
    server.start()
    write(server, "kept")
    second = EmbeddedPostgres(server.directory)
    with pytest.raises(EmbeddedError, match=rf"Another sync-server \(process {os.getpid()}\)"):
        second.start()
    second.stop()
    command = [sys.executable, "-c", OWNER, str(server.directory)]
    other = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "Another sync-server" in other.stderr
    assert notes(server) == ["kept"]


def test_sharing_uses_the_owners_and_never_stops_it(server: EmbeddedPostgres) -> None:
    server.start()
    guest = EmbeddedPostgres(server.directory)
    guest.start(share=True)
    assert guest.pid == server.pid
    assert guest.url("x") == server.url("x")
    write(guest, "from the guest")
    guest.stop()
    assert guest.pid is None
    assert notes(server) == ["from the guest"]


def test_sharing_with_nobody_owns_it(server: EmbeddedPostgres) -> None:
    server.start(share=True)
    pid = server.pid
    assert pid is not None
    server.stop()
    assert not runs(pid, server.directory)


def test_sharing_waits_for_an_owner_that_is_still_starting(server: EmbeddedPostgres, stack: ExitStack) -> None:
    command = [sys.executable, "-c", OWNER, str(server.directory)]
    owner = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    stack.callback(owner.kill)
    lock = server.directory.with_name("postgres.lock")
    while not lock.exists() or not lock.read_text():  # its holder's pid
        time.sleep(0.005)
    server.start(share=True)
    pid = announced(owner)
    stack.callback(end, pid, server.directory)
    assert server.pid == pid
    server.stop()
    assert runs(pid, server.directory)


def test_a_guest_takes_over_when_the_owner_dies(server: EmbeddedPostgres, stack: ExitStack) -> None:
    pid = left_by_a_killed_owner(server.directory, stack)
    server.start(share=True)
    assert server.pid == pid
    server.stop()
    assert not runs(pid, server.directory)


def test_the_lock_file_of_another_run_blocks_nobody(server: EmbeddedPostgres) -> None:
    server.directory.with_name("postgres.lock").write_text("1\n")
    server.start()
