"""Runs commands in a root directory, namespaces and privileges of their own, as a container engine does.

This machine's files take the place of the base image's, below an overlay that takes what is written. Needs root on Linux.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Files:
    """A file system: this machine's with what was written over it, which is kept in `directory`."""

    directory: Path
    shared: Mapping[str, Path] = field(default_factory=dict)
    """Directories that lie elsewhere, by where they appear."""

    def __post_init__(self) -> None:
        for path in (self.upper, self.directory / "work", self.root):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)  # it becomes the mode of /

    def copy(self, directory: Path) -> Files:
        """A copy for a container that may not write below /opt, which stays where it is: it is big."""
        copied = Files(directory, {"/opt": self.written("/opt")})
        for entry in self.upper.iterdir():
            if entry.name != "opt":
                subprocess.run(["cp", "--archive", entry, copied.upper], check=True)
        return copied

    @property
    def upper(self) -> Path:
        return self.directory / "upper"

    @property
    def root(self) -> Path:
        """Where it is seen whole, by processes of the container only."""
        return self.directory / "root"

    def written(self, path: str) -> Path:
        """Where a file is that was written at `path`."""
        return self.upper / path.lstrip("/")

    def make_directory(self, path: str) -> Path:
        """Make it and what is above it, whatever this process's umask, unless it is there already."""
        target = self.written(path)
        if target != self.upper and not target.exists():
            self.make_directory(str(Path(path).parent))
            target.mkdir()
            target.chmod(0o755)
        return target

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.make_directory(str(Path(path).parent)) / Path(path).name
        target.write_text(text)
        target.chmod(mode)


@dataclass
class Container:
    """How commands are run in it. User 0 has every capability, any other none and no way to get one."""

    files: Files
    environment: Mapping[str, str]
    workdir: str = "/"
    user: str = "0:0"
    read_only: bool = False
    tmpfs: Sequence[str] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """Directories and files of this machine, by where they appear."""

    def run(self, command: Sequence[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; errors are in stdout, too."""
        with self.start(command) as running:
            running.process.wait(timeout)
            return subprocess.CompletedProcess(command, running.process.returncode, running.printed)

    @contextmanager
    def start(self, command: Sequence[str]) -> Iterator[Running]:
        """Run `command` as process 1 of a process namespace, which ends with the block."""
        self._make_mount_points()
        printed = self.files.directory / f"printed-{time.monotonic_ns()}"
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-ec", self._script(command)]
        with printed.open("w") as file:
            process = subprocess.Popen(unshare, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield Running(process, printed)
        finally:
            # the end of process 1 is the end of all, and then of unshare; its --kill-child is void once the user has changed
            for child in children(process.pid):
                os.kill(child, signal.SIGKILL)
            process.wait(60)

    def _make_mount_points(self) -> None:
        for path in (entry.partition(":")[0] for entry in self.tmpfs):
            self.files.make_directory(path)
        for path, source in self._binds.items():
            if source.is_dir():
                self.files.make_directory(path)
            else:
                self.files.write(path, "")

    @property
    def _binds(self) -> dict[str, Path]:
        return {**self.files.shared, **self.mounts}

    def _script(self, command: Sequence[str]) -> str:
        root = self.files.root
        layers = f"lowerdir=/,upperdir={self.files.upper},workdir={self.files.directory / 'work'}"
        overlay = f"{layers},ro" if self.read_only else layers
        tmpfs = ((path, options or "mode=1777") for path, _, options in (entry.partition(":") for entry in self.tmpfs))
        return "\n".join(
            (
                _words("mount", "-t", "overlay", "-o", overlay, "overlay", root),
                _words("mount", "--rbind", "/dev", f"{root}/dev"),
                _words("mount", "-t", "proc", "proc", f"{root}/proc"),
                *(_words("mount", "-t", "tmpfs", "-o", options, "tmpfs", f"{root}{path}") for path, options in tmpfs),
                *(_words("mount", "--bind", source, f"{root}{path}") for path, source in self._binds.items()),
                "exec " + _words("chroot", root, *self._privileges(), *self._command(command)),
            )
        )

    def _privileges(self) -> list[str]:
        uid, _, gid = self.user.partition(":")
        ids = [f"--reuid={uid}", f"--regid={gid or uid}", "--clear-groups"]
        return ["setpriv", *ids, *([] if uid == "0" else ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"])]

    def _command(self, command: Sequence[str]) -> list[str]:
        environment = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", "-i", *environment, "sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *command]


@dataclass
class Running:
    """A command that is running in a container."""

    process: subprocess.Popen[bytes]
    file: Path

    @property
    def printed(self) -> str:
        return self.file.read_text(errors="replace")

    @property
    def first_process(self) -> int:
        """The id that process 1 has outside."""
        (child,) = children(self.process.pid)
        return child

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Wait until it has printed `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.printed:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.printed}"
            assert time.monotonic() < deadline, f"it does not print {text!r}, but {self.printed}"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send process 1 a signal, as an engine does; the exit code."""
        os.kill(self.first_process, number)
        return self.process.wait(seconds)


def children(pid: int) -> list[int]:
    """A process's children; none when it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _words(*words: str | Path) -> str:
    return shlex.join(str(word) for word in words)
