"""What waits for the disk: pushes, and of pulls those that change what must outlast a crash.

The process that writes the log behind commits that do not wait is stopped, so that whatever is on the disk was waited for.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import msgspec
import pytest

from postgres import superuser
from retention.conftest import run
from sync_server.accounts import standing
from sync_server.accounts.tokens import Device
from sync_server.realms import Realm
from sync_server.server import Server
from sync_server.sync import calls
from users import Connection, look_into

Work = Callable[[Realm, Device], Awaitable[Any]]
NONE = cast(Server, None)
"""Only calls that come in parts ask it for anything."""
EDIT = {"operation": "I", "rowguid": "1", "tablename": "todos", "clientdate": 1, "rowData": {"title": "x"}}
LATER = {**EDIT, "operation": "U", "clientdate": 2}


@pytest.fixture
def database(quiet_url: str) -> Iterator[Connection]:
    """As a superuser."""
    with look_into(superuser(quiet_url)) as connection:
        yield connection


@pytest.fixture(autouse=True)
def log_writer(database: Connection) -> Iterator[None]:
    """It sleeps."""
    [found] = database.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").fetchall()
    os.kill(found["pid"], signal.SIGSTOP)
    yield
    os.kill(found["pid"], signal.SIGCONT)


class Phone:
    """A device that has synced once. Its tokens carry the number that they would carry."""

    def __init__(self, url: str, database: Connection, *, quiet: bool) -> None:
        self._url = url
        self._database = database
        user_id, self.id = uuid.uuid4(), uuid.uuid4()
        make = {"user": user_id, "client": self.id, "email": str(user_id)}
        database.execute("INSERT INTO sync.spaces (id) VALUES (%(user)s)", make)
        database.execute(
            "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)"
            " VALUES (%(user)s, %(user)s, %(email)s, %(email)s, '', '')",
            make,
        )
        database.execute("INSERT INTO sync.clients (id, user_id) VALUES (%(client)s, %(user)s)", make)
        database.execute("INSERT INTO sync.syncs VALUES (%(client)s, 7, 7)", make)
        self._device = Device(
            "main", user_id, self.id, epoch=0, session=0, sync_number=7, token_id="token", quiet=quiet
        )

    def row(self, columns: str, table: str = "clients", key: str = "id") -> tuple[Any, ...]:
        query = f"SELECT {columns} FROM sync.{table} WHERE {key} = %s"
        [found] = self._database.execute(query.encode(), [self.id]).fetchall()
        return tuple(found.values())

    def does(self, work: Work) -> tuple[bool, bool]:
        """Whether that changed the client's durable row, and whether it waited for the disk."""
        number = self.row("sync_number", "syncs", "client_id")[0]
        device = msgspec.structs.replace(self._device, sync_number=number, token_id=uuid.uuid4().hex)
        self._database.execute("UPDATE sync.spaces SET clock = clock")  # so that all before is on the disk
        version, written = self.row("xmin::text"), self._written()
        run(self._url, lambda realm: work(realm, device))
        return self.row("xmin::text") != version, self._written() > written

    def _written(self) -> int:
        """Bytes of the log that are on the disk."""
        query = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint AS bytes"
        [found] = self._database.execute(query.encode()).fetchall()
        assert isinstance(found["bytes"], int)
        return found["bytes"]

    def syncs(self) -> int:
        """The cursor that it gets."""
        self.does(pulls(0))
        self.does(pushes(0, EDIT))
        cursor = self.row("push_answer")[0]
        assert isinstance(cursor, int)
        assert cursor > 0
        return cursor


def body(device: Device, cursor: int, changes: list[Any]) -> bytes:
    return msgspec.json.encode(
        {"clientId": str(device.client_id), "lastSync": cursor, "isPartial": 0, "changes": changes}
    )


def pulls(cursor: int, *changes: Any) -> Work:
    return lambda realm, device: calls.pull(realm, device, NONE, body(device, cursor, list(changes)))


def pushes(cursor: int, *changes: Any) -> Work:
    return lambda realm, device: calls.push(realm, device, NONE, body(device, cursor, list(changes)))


async def cancels(realm: Realm, device: Device) -> None:
    await calls.cancel_sync(realm, device, body(device, 0, []))


async def asks_for_its_number(realm: Realm, device: Device) -> None:
    await realm.transact(lambda tx: standing.sync_number(tx, device))


NOTHING = (False, False)
DURABLY = (True, True)


@pytest.fixture(params=[False, True], ids=["long way", "short way"])
def phone(request: pytest.FixtureRequest, quiet_url: str, database: Connection) -> Phone:
    return Phone(quiet_url, database, quiet=request.param)


def test_a_pull_of_a_known_device_waits_for_nothing(phone: Phone) -> None:
    cursor = phone.syncs()
    assert phone.does(pulls(cursor)) == NOTHING
    assert phone.row("sync_from", "syncs", "client_id") == (cursor,)
    assert phone.does(cancels) == NOTHING
    assert phone.does(asks_for_its_number) == NOTHING
    assert phone.does(pulls(cursor, LATER)) == NOTHING
    assert phone.row("sync_started IS NOT NULL", "syncs", "client_id") == (True,)


def test_a_pull_that_finds_something_to_tidy_up_waits_for_nothing(phone: Phone, database: Connection) -> None:
    """Whoever comes upon a page that is full of versions of the past throws them out, and notes that in the log."""
    cursor = phone.syncs()
    for number in range(20):
        database.execute("UPDATE sync.clients SET details = %s WHERE id = %s", [str(number) * 400, phone.id])
        assert phone.does(pulls(cursor)) == NOTHING
        phone.does(cancels)


def test_a_push_waits_and_says_what_the_device_has_heard_of(phone: Phone) -> None:
    cursor = phone.syncs()
    assert phone.row("acknowledged") == (0,)
    phone.does(pulls(cursor))
    assert phone.does(pushes(cursor, LATER)) == DURABLY
    assert phone.row("acknowledged") == (cursor,)


def test_the_end_of_a_sync_without_changes_waits_too(phone: Phone) -> None:
    """Its answer is a cursor, and is given again to whoever has lost it."""
    cursor = phone.syncs()
    phone.does(pulls(cursor))
    assert phone.does(pushes(cursor)) == DURABLY
    assert phone.row("acknowledged, push_answer") == (cursor, cursor)


def test_the_first_pull_says_durably_from_where_on_the_device_is_sent_tombstones(phone: Phone) -> None:
    assert phone.row("first_stamp, acknowledged") == (None, None)
    assert phone.does(pulls(0)) == DURABLY
    assert phone.row("first_stamp, acknowledged") == (0, 0)


def test_a_pull_with_a_lower_cursor_says_so_durably(phone: Phone) -> None:
    """Of a device that was put back to a backup: what it has not heard of must not be pruned."""
    cursor = phone.syncs()
    phone.does(pulls(cursor))
    phone.does(pushes(cursor, LATER))
    assert phone.does(pulls(cursor - 1)) == DURABLY
    assert phone.row("acknowledged") == (cursor - 1,)
    phone.does(cancels)
    assert phone.does(pulls(cursor - 1)) == NOTHING


def test_a_pull_after_an_error_forgets_it(phone: Phone, database: Connection) -> None:
    cursor = phone.syncs()
    database.execute("UPDATE sync.clients SET last_error = 'too large' WHERE id = %s", [phone.id])
    assert phone.does(pulls(cursor)) == DURABLY
    assert phone.row("last_error") == (None,)
