"""The system account that PostgreSQL gets when the server runs as root: PostgreSQL refuses to be root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from sync_server.embedded.problems import EmbeddedError
from sync_server.embedded.programs import Account

if sys.platform != "win32":
    import fcntl
    import pwd

log = structlog.get_logger()

ACCOUNT = "sync-server"

CREATE_ACCOUNT = (
    ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
     "--shell", "/usr/sbin/nologin", ACCOUNT),
    ("adduser", "-S", "-D", "-H", "-h", "/nonexistent", "-s", "/sbin/nologin", ACCOUNT),  # busybox
)  # fmt: skip


def account_for(directory: Path) -> Account | None:
    """The owner of the data directory if that is not root, else the service's own account; None when we are not root."""
    if os.geteuid() != 0:
        return None
    status = directory.stat() if directory.exists() else None
    if status is None or status.st_uid == 0:
        return _service_account()
    try:
        owner = pwd.getpwuid(status.st_uid)
    except KeyError:  # an account of another system, as in a volume
        return Account(str(status.st_uid), status.st_uid, status.st_gid)
    return Account(owner.pw_name, owner.pw_uid, owner.pw_gid)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Of two useradd at the same time, the second replaces the account that the first one has made, under another number."""
    directory = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


@_one_at_a_time()
def _service_account() -> Account:
    search = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    for command in ((), *CREATE_ACCOUNT):
        if command and (program := shutil.which(command[0], path=search)):
            subprocess.run(  # noqa: S603 - a fixed command
                [program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        try:
            entry = pwd.getpwnam(ACCOUNT)
        except KeyError:
            continue
        return Account(ACCOUNT, entry.pw_uid, entry.pw_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and no account could be made for it: make one called {ACCOUNT!r}."
        ) from None
    log.warning("embedded_postgres_runs_as_nobody", reason=f"the account {ACCOUNT} could not be made")
    return Account("nobody", entry.pw_uid, entry.pw_gid)


def let_in(account: Account, directory: Path, bin_directory: Path) -> None:
    """Let the account reach its data and the programs: the least that it takes, and said in the log."""
    package = bin_directory.parents[1]
    trees = [bin_directory, bin_directory.parent / "lib", bin_directory.parent / "share",
             package / ".dylibs", package.with_name(package.name + ".libs")]  # fmt: skip
    opened = open_parents(account, directory)
    for tree in trees:
        if tree.is_dir():
            opened += open_parents(account, tree) + open_tree(account, tree)
    say_opened(account, opened)


def say_opened(account: Account, opened: list[Path]) -> None:
    if opened:
        shown = [str(path) for path in opened[:10]]
        log.warning("embedded_postgres_paths_opened", account=account.name, number=len(opened), first=shown)


def open_parents(account: Account, path: Path) -> list[Path]:
    """Let the account pass through (never list) the directories above `path` that it cannot pass now."""
    return [parent for parent in reversed(path.parents) if _grant(account, parent, 0o1)]


def open_tree(account: Account, tree: Path) -> list[Path]:
    """Let the account read the programs' files, and run those that are programs."""
    opened = [tree] if _grant(account, tree, 0o5) else []
    for folder, folders, names in os.walk(tree):
        opened += [path for name in folders if _grant(account, path := Path(folder, name), 0o5)]
        for name in names:
            path = Path(folder, name)
            if path.is_symlink():
                path = path.resolve()
                opened += open_parents(account, path)
            if path.exists() and _grant(account, path, 0o5 if path.stat().st_mode & 0o100 else 0o4):
                opened.append(path)
    return opened


def _grant(account: Account, path: Path, needed: int) -> bool:
    """Add the rwx bits in `needed` for the class that the account falls into; False when nothing was missing."""
    status = path.stat()
    shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
    missing = (needed << shift) & ~status.st_mode
    if missing:
        path.chmod(stat.S_IMODE(status.st_mode) | missing)
    return bool(missing)
