"""Which processes work in a data directory, and the end of those that are left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sync_server.embedded.sockets import PORT, remove_socket_directory

IMMEDIATE_STOP_LIMIT = 10.0  # seconds


@dataclass(frozen=True)
class PidFile:
    """What `postmaster.pid` says (line 1 pid, 4 port, 5 socket directory, empty until the socket is open)."""

    pid: int
    standalone: bool  # postgres --single writes its pid as a negative number
    port: int
    socket_directory: str

    @classmethod
    def read(cls, directory: Path) -> PidFile | None:
        """None when there is none, or when it is empty, cut off or garbage."""
        try:
            lines = os.fsdecode((directory / "postmaster.pid").read_bytes()).split("\n")
            pid, port = int(lines[0]), int(lines[3])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        socket_directory = "".join(lines[4:5]).strip()
        return cls(abs(pid), pid < 0, port, str(directory / socket_directory) if socket_directory else "")


def runs_in(directory: Path, pid: int) -> bool:
    """Whether this process is a PostgreSQL of this directory, and neither a zombie nor some program with an old pid."""
    if sys.platform == "linux":
        try:
            if Path(f"/proc/{pid}").stat().st_uid != directory.stat().st_uid:
                return False  # PostgreSQL insists on owning its data; and what we take for it may be killed, by root
            program = Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
            return program == "postgres" and Path(f"/proc/{pid}/cwd").samefile(directory)
        except PermissionError:
            pass  # root without CAP_SYS_PTRACE, as in most containers: the command line is open to all
        except OSError:
            return False
    return f"/postgres -D {directory} " in _command_line(pid)


def _command_line(pid: int) -> str:
    if sys.platform != "linux":
        command = ["ps", "-ww", "-p", str(pid), "-o", "command="]
        return os.fsdecode(subprocess.run(command, capture_output=True, check=False).stdout)  # noqa: S603 - a number
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
    except OSError:
        return ""


def end_processes(directory: Path) -> None:
    """End what still runs in the directory (backends that outlived a killed postmaster), where the system can say so.

    Elsewhere PostgreSQL itself notices them, by their shared memory, and refuses to start.
    """
    for number, limit in ((signal.SIGQUIT, 3.0), (signal.SIGKILL, IMMEDIATE_STOP_LIMIT)):
        deadline = time.monotonic() + limit
        left = _processes(directory)
        for pid in left:
            kill(pid, number)
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = [pid for pid in left if runs_in(directory, pid)]


def kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, number)


def _processes(directory: Path) -> list[int]:
    if sys.platform != "linux":
        return []
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if runs_in(directory, pid)]


def clear_leftovers(directory: Path) -> None:
    """Make the directory of a postmaster that is gone ready for the next one."""
    end_processes(directory)
    found = PidFile.read(directory)
    if found is not None:
        remove_socket_directory(found.socket_directory)
    # A postmaster refuses to start when the pid in either file is alive, whatever program has it now.
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (directory / name).unlink(missing_ok=True)
    pid_file = directory / "postmaster.pid"
    rest = pid_file.read_bytes().partition(b"\n")[2] if found is not None else b""
    pid_file.unlink(missing_ok=True)
    if rest:
        # PostgreSQL ignores its parent's pid, and still looks whether the shared memory named here is in use.
        _write_new(pid_file, b"%d\n" % os.getpid() + rest)


def _write_new(path: Path, content: bytes) -> None:
    """Write a file for the directory's owner. Another account owns the directory, so root must not follow a link there."""
    owner = path.parent.stat()
    new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(new, content)
        os.fchown(new, owner.st_uid, owner.st_gid)
    finally:
        os.close(new)
