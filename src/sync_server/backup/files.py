"""Where a backup is written to and read from: a file that is there whole or not at all, or a pipe."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sync_server.backup.archive import BackupError

PIPE = "-"


@contextmanager
def written(path: str, *, replace: bool) -> Iterator[IO[bytes]]:
    """A stream whose content is in `path`, for its owner only, when the block has ended well; "-" is standard output.

    Raises BackupError; also where there is something at `path`, unless `replace`.
    """
    if path == PIPE:
        if sys.stdout.isatty():
            raise BackupError("a backup is no text: give a file, or send standard output to a program or a file")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if target.exists() and not replace:
        raise BackupError(f"{target} is there already: give another name, or --replace")
    try:
        with _beside(target) as file:
            yield file
    except OSError as exc:
        raise BackupError(f"{target} cannot be written: {exc.strerror}") from exc


@contextmanager
def _beside(target: Path) -> Iterator[IO[bytes]]:
    """Write to a file with another name, and give it its own in the end."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
        _keep(target.parent)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _keep(directory: Path) -> None:
    """Have the directory's new entry survive a crash of the machine."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def read(path: str) -> Iterator[IO[bytes]]:
    """The stream; "-" is standard input. Raises BackupError."""
    if path == PIPE:
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - see below
    except OSError as exc:
        raise BackupError(f"{path} cannot be read: {exc.strerror}") from exc
    with file:
        yield file
