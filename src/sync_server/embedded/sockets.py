"""The directory of PostgreSQL's socket: private, and short enough for a socket address."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import structlog

from sync_server.embedded.account import open_parents, say_opened
from sync_server.embedded.problems import EmbeddedError
from sync_server.embedded.programs import Account

log = structlog.get_logger()

PORT = 5432  # only part of the socket's file name: nothing listens on the network
PRIVATE = 0o700
SOCKET_PREFIX = "sync-server-"
SOCKET_PATH_LIMIT = 103 if sys.platform == "darwin" else 107  # bytes that fit into sun_path


def socket_directory(directory: Path, account: Account | None, wanted: str) -> str:
    """The data directory, or a private one (`wanted` if possible) when its path does not fit into a socket address."""
    if can_hold_socket(str(directory)):
        return str(directory)
    private = _private_directory(wanted)
    if account is not None:
        say_opened(account, open_parents(account, Path(private)))
        os.chown(private, account.uid, account.gid)
    return private


def _private_directory(wanted: str) -> str:
    if Path(wanted).name.startswith(SOCKET_PREFIX):
        remove_socket_directory(wanted)
        with suppress(OSError):
            Path(wanted).mkdir(PRIVATE)
            return wanted
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - for a directory that mkdtemp makes
        private = tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=os.path.realpath(parent))
        if can_hold_socket(private):
            return private
        Path(private).rmdir()
    raise EmbeddedError("No temporary directory is short enough for a unix socket: set TMPDIR to one that is.")


def can_hold_socket(directory: str) -> bool:
    try:
        length = len(f"{directory}/.s.PGSQL.{PORT}".encode())
    except UnicodeEncodeError:
        return False
    return length <= SOCKET_PATH_LIMIT and not set(directory) & set(',"\n')  # separate lists in libpq and in settings


def remove_socket_directory(socket_directory: str) -> None:
    """Remove it if it is one of our private ones; the name may come from a file, so nothing else is ever removed."""
    path = Path(socket_directory)
    if not path.name.startswith(SOCKET_PREFIX) or path.is_symlink() or not path.is_dir():
        return
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (path / name).unlink(missing_ok=True)
    try:
        path.rmdir()
    except OSError as exc:
        log.warning("embedded_postgres_socket_directory_stays", directory=socket_directory, reason=exc.strerror)
