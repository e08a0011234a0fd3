"""The files of the cluster."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

import structlog

from sync_server.embedded.problems import EmbeddedError
from sync_server.embedded.programs import SUPERUSER, Account, Command, run
from sync_server.embedded.sockets import PRIVATE

log = structlog.get_logger()

FIRST_USER_OID = 16384  # databases made by initdb have lower numbers


def prepare(directory: Path, bin_directory: Path, account: Account | None, *, durable: bool) -> None:
    """Leave a whole cluster of the right version in the directory, owned by the account, open to nobody else.

    `durable`: whether a new one is flushed to the disk. Raises EmbeddedError, OSError.
    """
    if not _is_cluster(directory):
        if directory.exists():
            _set_aside(directory)
        _initialise(directory, bin_directory, account, durable=durable)
        return
    _check_version(directory, bin_directory, account)
    status = directory.stat()
    if account is not None and status.st_uid == 0:  # copied back by root
        _hand_over(directory, account)
    if stat.S_IMODE(status.st_mode) != PRIVATE:
        directory.chmod(PRIVATE)


def _initialise(directory: Path, bin_directory: Path, account: Account | None, *, durable: bool) -> None:
    """Make the cluster beside its place and rename it: a run that is killed half-way leaves no half cluster."""
    prefix = directory.name + ".new-"
    for abandoned in directory.parent.iterdir():
        if abandoned.name.startswith(prefix):
            shutil.rmtree(abandoned, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
        command: Command = [bin_directory / "initdb", "-D", fresh, "--no-locale", "--encoding=UTF8", "--no-instructions",
                   f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=reject"]  # fmt: skip
        if not durable:
            command.append("--no-sync")
        run(command, account, "make a new database cluster")
        fresh.rename(directory)
        _sync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _is_cluster(directory: Path) -> bool:
    return (directory / "PG_VERSION").is_file() and (directory / "global" / "pg_control").is_file()


def _set_aside(directory: Path) -> None:
    """Move what a half-done initdb left out of the way. What may be of value is never touched."""
    if directory.is_mount():
        raise EmbeddedError(f"{directory} is a mount point: mount the volume at {directory.parent} instead.")
    names = sorted(path.name for path in directory.iterdir())
    if not names:
        return  # the new cluster can be renamed over it
    databases = [int(path.name) for path in directory.glob("base/*") if path.name.isdigit()]
    if any(oid >= FIRST_USER_OID for oid in databases):
        raise EmbeddedError(
            f"The PostgreSQL data in {directory} is damaged: restore it from a backup, or move it away to start anew."
        )
    known = re.compile(r"PG_VERSION|base|global|pg_\w+(\.conf)?|postgresql(\.auto)?\.conf|postmaster\.(pid|opts)")
    if strangers := [name for name in names if not known.fullmatch(name)]:
        raise EmbeddedError(
            f"{directory} is neither empty nor a PostgreSQL data directory (it holds {strangers[0]!r}):"
            " give `server.data_dir` another directory."
        )
    aside = directory.with_name(f"{directory.name}.unfinished-{time.time_ns()}")
    directory.rename(aside)
    log.warning("embedded_postgres_unfinished_cluster_set_aside", moved_to=str(aside), note="it may be deleted")


def _check_version(directory: Path, bin_directory: Path, account: Account | None) -> None:
    data = (directory / "PG_VERSION").read_text().strip()
    ours = run([bin_directory / "postgres", "--version"], account, "run its program").split()[-1].partition(".")[0]
    if data != ours:
        raise EmbeddedError(
            f"The data in {directory} belongs to PostgreSQL {data}, and this sync-server brings PostgreSQL {ours}:"
            f" dump it with PostgreSQL {data} (pg_dumpall), move the directory away, start anew and restore the dump."
        )


def _hand_over(directory: Path, account: Account) -> None:
    for path in (directory, *directory.rglob("*")):  # rglob does not follow links
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _sync_directory(directory: Path) -> None:
    """Make a rename in the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
