"""A database that the version before syncs had a table of their own (0016) has left, in the middle of its devices' syncs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from conftest import start_server
from device import Device, Entry, Key, Refused, Row, State, Unauthorized, wall_clock
from instances.fleet import configuration
from postgres import Postgres
from sync_server import migrations
from sync_server.accounts import tokens
from sync_server.accounts.tokens import Tokens
from sync_server.keys import Keys
from users import look_into, sync_all
from wire import Answer, Request, Wire, encode

CLOCK = wall_clock() - 60_000
"""Of the space, when the version before ended."""
OLD: dict[Key, Row] = {("todos", guid): {"title": "old"} for guid in ("1", "2", "3")}
NUMBER = 7
"""Of a client's latest sync: its tokens carry it."""
CLIENT = """
INSERT INTO sync.clients (id, user_id, refresh_id, refresh_issued, first_stamp, acknowledged, last_sync, sync_number)
VALUES (%(id)s, %(user)s, 'refresh', %(now)s, 0, %(clock)s - 10, %(clock)s, %(number)s)
"""
BEGIN = """
UPDATE sync.clients
SET sync_from = %(clock)s, sync_to = %(clock)s, sync_started = %(now)s, sync_digest = 'of a pull', sync_token = 'access'
WHERE id = %(id)s
"""


class Left:
    """Ann's account at migration 0015, and her devices with what they had stored. Her password is not what they know."""

    def __init__(self, url: str) -> None:
        self.url, self.user = url, uuid4()
        self._tokens = Tokens(Keys("access " * 5, "refresh " * 5))
        migrations.migrate(url, migrations=[known for known in migrations.available() if known.version <= 15])
        self._execute("INSERT INTO sync.spaces (id, clock) VALUES (%(user)s, %(clock)s)")
        self._execute(
            """INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
            VALUES (%(user)s, %(user)s, 'ann@example.com', 'ann@example.com', 'Ann', '$2b$')"""
        )
        self.phone, self.tablet, self.laptop = (self._device() for _ in range(3))
        for ordinal, ((table, guid), row) in enumerate(OLD.items(), start=1):
            data = encode({"rowguid": guid, **row}).decode()
            values = {"table": table, "guid": guid, "data": data, "ordinal": ordinal, "client": self.tablet.client_id}
            self._execute(
                """INSERT INTO sync.rows
                VALUES (%(user)s, %(table)s, %(guid)s, 'I', %(data)s, 1, 1, %(clock)s, %(ordinal)s, %(client)s)""",
                **values,
            )

    def _device(self) -> Device:
        client = uuid4()
        self._execute(CLIENT, id=client)
        known = tokens.Device("main", self.user, client, epoch=0, session=0, sync_number=NUMBER, token_id="access")
        refresh = tokens.Device("main", self.user, client, epoch=0, session=0, sync_number=0, token_id="refresh")
        state = State(dict(OLD), [], CLOCK, str(client), "Ann", "ann@example.com", "not it")
        state.access, state.refresh = self._tokens.access(known), self._tokens.refresh(refresh)
        return Device(_nowhere, "main", state=state)

    def begins_a_sync(self, device: Device) -> None:
        self._execute(BEGIN, id=device.client_id)

    def has_pushed(self, device: Device, body: bytes) -> None:
        """It was stored, and answered with the clock."""
        pushed = "UPDATE sync.clients SET push_digest = %(digest)s, push_answer = %(clock)s WHERE id = %(id)s"
        self._execute(pushed, id=device.client_id, digest=hashlib.sha256(body).hexdigest())

    def _execute(self, statement: str, **values: object) -> None:
        given = {"user": self.user, "clock": CLOCK, "now": wall_clock(), "number": NUMBER, **values}
        with psycopg.connect(self.url) as connection:
            assert connection.execute(statement.encode(), given).rowcount == 1


def _nowhere(_request: Request) -> Answer:
    raise AssertionError("no server is there yet")


@pytest.fixture(scope="module")
def left(postgres: Postgres) -> Left:
    return Left(postgres.create_database("instances_upgraded"))


@pytest.fixture(scope="module")
def wire(left: Left, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """To the present server, which is started on what was left."""
    left.phone.state.log.append(Entry(("todos", "2"), "U", wall_clock()))
    left.phone.state.rows["todos", "2"] = {"title": "edited before"}
    left.begins_a_sync(left.phone)
    left.has_pushed(left.laptop, encode(left.laptop.body([], 0, None)))
    process = start_server(tmp_path_factory.mktemp("upgraded"), configuration(left.url))
    assert '"0016_syncs"' in process.log
    wire = Wire(process.url)
    for device in (left.phone, left.tablet, left.laptop):
        device.send = wire.send
    yield wire
    wire.close()
    assert process.stop() == 0
    assert '"fault"' not in process.log


@pytest.mark.usefixtures("wire")
def test_devices_go_on_with_the_tokens_that_they_have_and_lose_nothing(left: Left) -> None:
    phone, tablet, laptop = left.phone, left.tablet, left.laptop
    before = f"Bearer {phone.state.access}"
    # what was under way is over, and what it still sends changes nothing
    with pytest.raises(Refused, match="pull before"):
        phone.call("/push/main", phone.body(phone.pending(), 0, CLOCK), before)
    # so that it refreshes, with a token that carries the number of a sync that the server knows
    with pytest.raises(Unauthorized):
        phone.call("/pull/main", phone.body([], 0, CLOCK), before)
    # the answer to the last push was lost: the same again gets it (G5)
    again = laptop.call("/push/main", laptop.body([], 0, None), f"Bearer {laptop.state.access}")
    assert again["lastSync"] == CLOCK

    tablet.insert("todos", "4", {"title": "new"})
    tablet.delete("todos", "3")
    phone.sync()  # at once, although a sync was under way
    assert phone.pulled == [], "nothing is sent that it had"
    assert phone.state.log == []
    sync_all(tablet, phone, laptop)
    expected = {("todos", "1"): "old", ("todos", "2"): "edited before", ("todos", "4"): "new"}
    for device in (phone, tablet, laptop):
        assert {key: row["title"] for key, row in device.state.rows.items()} == expected
    with look_into(left.url) as connection:
        [kept] = connection.execute("SELECT count(*) AS count FROM sync.overridden").fetchall()
        numbers = connection.execute("SELECT client_id, first_number, sync_number FROM sync.syncs").fetchall()
    assert kept["count"] == 0
    assert {row["client_id"] for row in numbers} == {UUID(each.client_id) for each in (phone, tablet, laptop)}
    assert all(NUMBER < row["first_number"] < row["sync_number"] for row in numbers)
