"""What is in a backup, and what becomes of one that is damaged: everything is restored, or nothing."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from backup.content import IGNORE, Meddler, content, fill, restored, taken
from postgres import Postgres
from sync_server import audit, backup, migrations
from sync_server.audit import Acting
from sync_server.backup import BackupError
from sync_server.backup.archive import Reader
from sync_server.backup.tables import ACCOUNTS, LEFT_OUT, TABLES, TYPES, existing
from sync_server.database import Tx

Lines = list[Any]


@pytest.fixture(scope="module")
def full_url(postgres: Postgres) -> str:
    url = postgres.create_migrated("backup_full")
    fill(url)
    return url


@pytest.fixture(scope="module")
def whole(full_url: str) -> bytes:
    return taken(full_url)


def lines_of(data: bytes) -> Lines:
    return [json.loads(line) for line in gzip.decompress(data).splitlines()]


def packed(lines: Lines) -> bytes:
    """What was not changed is byte for byte what it was."""
    texts = [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in lines]
    return gzip.compress("".join(f"{text}\n" for text in texts).encode())


def test_everything_comes_back_as_it_was(full_url: str, whole: bytes, database_url: str) -> None:
    restored(whole, database_url, as_it_was=True)
    assert content(database_url) == content(full_url)


def test_it_is_verified_in_a_schema_that_is_gone_afterwards(whole: bytes, database_url: str) -> None:
    verified = backup.verify(database_url, io.BytesIO(whole), IGNORE)
    assert verified.counts["rows"].rows == 3
    with psycopg.connect(database_url) as connection:
        query = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'verify%'"
        assert connection.execute(query).fetchone() == (0,)


def test_what_was_restored_otherwise_than_written_is_found(
    whole: bytes, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that changes what it is given."""
    portions = backup.restoring._portions  # noqa: SLF001

    def changing(rows: Any) -> Any:
        for portion in portions(rows):
            yield [["other" if value == "notes" else value for value in row] for row in portion]

    monkeypatch.setattr(backup.restoring, "_portions", changing)
    with pytest.raises(BackupError, match=r"differs from what was written: rows, history, overridden$"):
        backup.verify(database_url, io.BytesIO(whole), IGNORE)


def test_it_is_a_picture_of_one_moment(postgres: Postgres, database_url: str) -> None:
    """While rows are read, the user goes."""
    busy = postgres.create_migrated("backup_busy")
    fill(busy, rows=1500)
    before, stream = content(busy), io.BytesIO()

    def meddle() -> None:
        with psycopg.connect(busy) as connection:
            connection.execute("DELETE FROM sync.users")
            connection.execute("UPDATE sync.spaces SET clock = clock + 1")

    backup.take("todos", "sync", busy, stream, Meddler(meddle))
    assert not content(busy)["users"]
    restored(stream.getvalue(), database_url, as_it_was=True)
    assert content(database_url) == before


def test_a_restore_that_cannot_be_audited_is_none(whole: bytes, database_url: str) -> None:
    async def refuse(tx: Tx, _: Reader) -> None:
        await audit.record(tx, Acting(via="cli"), action="realm.restore", entity="realm")
        raise BackupError("the disk of the audit log is full")

    with pytest.raises(BackupError, match="of the audit log"):
        backup.restore("sync", database_url, io.BytesIO(whole), IGNORE, end=refuse)
    left = {table for table, rows in content(database_url).items() if rows}
    assert left <= {"stats"}, "which a server writes for a realm that has nobody yet"
    backup.restore("sync", database_url, io.BytesIO(whole), IGNORE)


def test_the_head_says_what_it_is_of(whole: bytes) -> None:
    head = lines_of(whole)[0]
    assert head["realm"] == "todos"
    assert head["migrations"] == [migration.name for migration in migrations.available()]
    assert head["taken_at"].endswith("+00:00")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def without_its_end(data: bytes) -> bytes:
    return packed(lines_of(data)[:-1])


def without_a_row(data: bytes) -> bytes:
    lines = lines_of(data)
    return packed([line for line in lines if not (isinstance(line, list) and line[2] == "2")])


def without_a_table(data: bytes) -> bytes:
    lines = lines_of(data)
    start = next(
        number for number, line in enumerate(lines) if isinstance(line, dict) and line.get("table") == "history"
    )
    return packed(lines[:start] + lines[start + 3 :])


def with_another_value(data: bytes) -> bytes:
    return packed([["x", *line[1:]] if isinstance(line, list) and "ann@x" in line else line for line in lines_of(data)])


def with_a_strange_column(data: bytes) -> bytes:
    lines = lines_of(data)
    for line in lines:
        if isinstance(line, dict) and line.get("table") == "users":
            line["columns"][0] = ["id) SELECT 1; --", "uuid"]
    return packed(lines)


def with_something_behind(data: bytes) -> bytes:
    return packed([*lines_of(data), ["x"]])


def of_something_else(_: bytes) -> bytes:
    return gzip.compress(b'{"format": "x"}\n')


def of_no_gzip(_: bytes) -> bytes:
    return b"hello"


def of_nothing(_: bytes) -> bytes:
    return b""


def of_a_later_server(data: bytes) -> bytes:
    head, *lines = lines_of(data)
    return packed([{**head, "migrations": [*head["migrations"], "9999_more"]}, *lines])


DAMAGES = {
    cut: "damaged or incomplete",
    flip: "damaged",
    without_its_end: "its end is missing",
    without_a_row: "rows is not what was written",
    without_a_table: "its tables are not those that were written",
    with_another_value: "users is not what was written",
    with_a_strange_column: "no such table as its users",
    with_something_behind: "end",
    of_something_else: "damaged",
    of_no_gzip: "damaged or incomplete",
    of_nothing: "is incomplete",
    of_a_later_server: "of a newer sync-server",
}


@pytest.fixture(scope="module")
def empty_url(postgres: Postgres) -> str:
    return postgres.create_migrated("backup_empty")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_of_a_damaged_backup_nothing_is_restored(
    whole: bytes, empty_url: str, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(BackupError, match=DAMAGES[damage]) as caught:
        restored(damage(whole), empty_url)
    assert "\n" not in str(caught.value)
    assert not any(content(empty_url).values())


def test_a_realm_with_something_in_it_is_left_alone(whole: bytes, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO sync.spaces (id) VALUES (gen_random_uuid())")
    before = content(database_url)
    with pytest.raises(BackupError, match=r"not empty .* in spaces"):
        restored(whole, database_url)
    assert content(database_url) == before


def test_whoever_registers_meanwhile_keeps_their_account(whole: bytes, database_url: str) -> None:
    def register() -> None:
        with psycopg.connect(database_url) as other:
            other.execute("INSERT INTO sync.spaces (id) VALUES (%s) ON CONFLICT DO NOTHING", ["00" * 15 + "aa"])
            bob = """
                INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
                VALUES (%(id)s, %(id)s, 'bob@x', 'bob@x', 'Bob', 'x') ON CONFLICT DO NOTHING
            """
            other.execute(bob, {"id": "00" * 15 + "aa"})

    with pytest.raises(BackupError, match="somebody has registered meanwhile"):
        backup.restore("sync", database_url, io.BytesIO(whole), Meddler(register))
    found = content(database_url)
    assert [user[2] for user in found["users"]] == ["bob@x"]
    assert not found["rows"]


def test_a_backup_of_the_first_version_is_restored(postgres: Postgres, database_url: str) -> None:
    old = postgres.create_database("backup_old")
    migrations.migrate(old, "sync", migrations.available()[:1])
    with psycopg.connect(old) as connection:
        connection.execute("INSERT INTO sync.spaces (id, clock) VALUES (%s, 5)", ["00" * 16])
    restored(taken(old), database_url, as_it_was=True)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT clock, pruned, restored FROM sync.spaces").fetchone() == (5, 0, 0)


def test_every_table_is_either_in_a_backup_or_left_out(empty_url: str) -> None:
    """Whoever adds a table decides: in backup/tables.py, with the reason where it is left out."""
    with psycopg.connect(empty_url) as connection:
        found = existing(connection, "sync")
    assert not set(TABLES) & LEFT_OUT.keys()
    assert found.keys() == set(TABLES) | LEFT_OUT.keys()
    assert {column.type for table in TABLES for column in found[table]} <= TYPES


def test_tables_are_restored_after_those_that_they_refer_to(empty_url: str) -> None:
    query = """
        SELECT c.relname, f.relname FROM pg_constraint k
        JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
        WHERE k.contype = 'f' AND k.connamespace = 'sync'::regnamespace
    """
    with psycopg.connect(empty_url) as connection:
        pairs = [pair for pair in connection.execute(query) if pair[0] in TABLES]
    assert pairs
    for table, other in pairs:
        assert TABLES.index(other) < TABLES.index(table)
        assert {table, other} <= set(ACCOUNTS)


def test_a_backup_of_before_syncs_had_a_table_leaves_none_under_way(postgres: Postgres, database_url: str) -> None:
    old = postgres.create_database("backup_before_syncs")
    migrations.migrate(old, "sync", [known for known in migrations.available() if known.version <= 15])
    space, client = UUID(int=1), UUID(int=2)
    with psycopg.connect(old) as connection:
        connection.execute("INSERT INTO sync.spaces (id, clock) VALUES (%s, 5)", [space])
        connection.execute(
            """INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
            VALUES (%s, %s, 'ann@x', 'ann@x', 'Ann', 'x')""",
            [space, space],
        )
        connection.execute(
            """INSERT INTO sync.clients (id, user_id, refresh_id, first_stamp, acknowledged, sync_number, sync_from, sync_to,
                sync_started, sync_digest, sync_token) VALUES (%s, %s, 'r', 3, 4, 7, 4, 5, 6, 'd', 't')""",
            [client, space],
        )
    restored(taken(old), database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT * FROM sync.syncs").fetchall() == []
        found = connection.execute("SELECT id, refresh_id, session > 0, first_stamp, acknowledged FROM sync.clients")
        assert found.fetchall() == [(client, None, True, 0, 0)]
