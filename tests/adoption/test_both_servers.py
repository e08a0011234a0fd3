"""The old server and the new one at the same time: what each has written, and who wins."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from adoption import old_tables
from adoption.conftest import NUMBERS, adopt
from adoption.old_devices import pulled
from adoption.old_server import OldServer, move
from conftest import start_server
from device import Device, unhindered, wall_clock
from postgres import Postgres
from sync_server.database import queries
from users import User, at, look_into
from wire import Crash, Wire, new_email

HOUR = 3_600_000


class Both:
    """A realm of which both servers serve the devices."""

    def __init__(self, url: str, wire: Wire, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.url, self.wire = url, wire
        self.now = wall_clock() - HOUR
        self.old = OldServer(connection, self._tick)
        self.email = new_email()
        self.user_id = self.old.register(self.email, "secret")

    def _tick(self) -> int:
        self.now += 7
        return self.now

    def device(self) -> Device:
        """A device that syncs with the old server."""
        device = Device(self.old.send, "main", clock=lambda: self.now)
        self.old.add(self.user_id, device, self.email, "secret")
        return device

    def move(self, *devices: Device) -> None:
        for device in devices:
            move(device, self.wire.send)

    def select(self, table: str) -> list[dict[str, Any]]:
        with look_into(self.url) as connection:
            query = f"SELECT * FROM sync.{table} WHERE space_id = %s"
            return connection.execute(query.encode(), [self.user_id]).fetchall()


@pytest.fixture(scope="module")
def realm(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Wire]]:
    url = postgres.create_database(f"both_{next(NUMBERS)}")
    old_tables.make(url)
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"main": url}}}
    process = start_server(tmp_path_factory.mktemp("both"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    wire = Wire(process.url)
    yield url, wire
    wire.close()
    assert process.stop() == 0
    assert "Traceback" not in process.log


@pytest.fixture
def both(realm: tuple[str, Wire]) -> Iterator[Both]:
    with psycopg.connect(realm[0], autocommit=True) as connection:
        yield Both(*realm, connection)


def one_row_on(both: Both, *devices: Device) -> str:
    """A row that all of them have, taken over."""
    guid = str(uuid.uuid4())
    devices[0].insert("todos", guid, {"title": "first"})
    for device in devices:
        device.sync()
    adopt(both.url)
    return guid


def title(device: Device, guid: str) -> object:
    return device.state.rows["todos", guid]["title"]


def test_the_later_edit_wins_when_it_was_made_there(both: Both) -> None:
    here, there = both.device(), both.device()
    guid = one_row_on(both, here, there)
    both.move(here)
    here.clock = at(both.now + 100)
    here.update("todos", guid, {"title": "here"})
    here.sync()
    there.clock = at(both.now + 200)
    there.update("todos", guid, {"title": "there"})
    both.now += 1000
    there.sync()
    assert adopt(both.url).done.overridden == 1
    both.move(there)
    here.sync()
    there.sync()
    assert title(here, guid) == title(there, guid) == "there"
    assert [row["row_data"] for row in both.select("overridden")] == [f'{{"rowguid":"{guid}","title":"here"}}']


def test_the_later_edit_wins_when_it_was_made_here(both: Both) -> None:
    here, there = both.device(), both.device()
    guid = one_row_on(both, here, there)
    there.clock = at(both.now + 100)
    there.update("todos", guid, {"title": "there"})
    there.sync()
    both.move(here)
    here.clock = at(both.now + 100_000)
    here.update("todos", guid, {"title": "here"})
    here.sync()
    for _ in range(2):
        adopt(both.url)
    both.move(there)
    there.sync()
    here.sync()
    assert title(here, guid) == title(there, guid) == "here"
    (kept,) = both.select("overridden")
    assert '"there"' in kept["row_data"]


def test_edits_there_follow_each_other_whatever_the_clocks_say(both: Both) -> None:
    here, there = both.device(), both.device()
    guid = one_row_on(both, here, there)
    both.move(here)
    here.insert("todos", str(uuid.uuid4()), {"title": "so that the space is in use"})
    here.sync()
    there.clock = at(both.now - 24 * HOUR)
    there.update("todos", guid, {"title": "by a clock that is a day behind"})
    there.sync()
    adopt(both.url)
    here.sync()
    assert title(here, guid) == "by a clock that is a day behind"
    assert both.select("overridden") == []


def test_deletes_there_reach_those_here(both: Both) -> None:
    here, there = both.device(), both.device()
    guid = one_row_on(both, here, there)
    both.move(here)
    here.sync()
    there.delete("todos", guid)
    there.sync()
    adopt(both.url)
    here.sync()
    assert pulled(here) == {guid: "D"}
    assert here.state.rows == {}
    assert deleted_titles(both) == ["first"], "what was deleted there can be brought back"


def deleted_titles(both: Both) -> list[str]:
    """Those that the history keeps of deleted rows."""
    return [json.loads(line["old_data"])["title"] for line in both.select("history") if line["operation"] == "D"]


def test_what_was_taken_over_is_not_taken_again(both: Both) -> None:
    """Lines that were young in an earlier run, and superseded here since."""
    here, there = both.device(), both.device()
    both.now = wall_clock()
    guid = one_row_on(both, here, there)
    both.move(here)
    here.update("todos", guid, {"title": "here"})
    here.sync()
    there.insert("todos", str(uuid.uuid4()), {"title": "news, so that there is something to do"})
    there.sync()
    adopt(both.url)
    here.sync()
    assert title(here, guid) == "here"
    assert both.select("overridden") == []
    assert set(pulled(here).values()) == {"I"}


def test_a_line_that_appears_late_is_taken(both: Both) -> None:
    """An id is handed out before its line is committed: a lower one may appear after a run has seen a higher one."""
    here, there = both.device(), both.device()
    both.now = wall_clock()
    one_row_on(both, here, there)
    both.move(here)
    here.insert("todos", str(uuid.uuid4()), {"title": "so that the space is in use"})
    here.sync()
    with psycopg.connect(both.url, autocommit=True) as connection:
        (taken,) = connection.execute("SELECT nextval('public.sync_data_id_seq')").fetchall()
        there.insert("todos", str(uuid.uuid4()), {"title": "higher id"})
        there.sync()
        adopt(both.url)
        late = str(uuid.uuid4())
        connection.execute('INSERT INTO public.data VALUES (%s, \'{"title": "late"}\')', [late])
        line = """INSERT INTO public.sync_data (id, userid, clientid, tablename, rowguid, operation, clientdate, serverdate)
            VALUES (%s, %s, %s, 'todos', %s, 'I', 1, %s)"""
        connection.execute(line, [taken[0], both.user_id, there.client_id, late, both.now])
    adopt(both.url)
    here.sync()
    assert title(here, late) == "late"


def syncs_without_changes(device: Device) -> None:
    device.sync()


def only_pulls(device: Device) -> None:
    device.pull()


def pushes(device: Device) -> None:
    device.insert("todos", str(uuid.uuid4()), {"title": "here"})
    device.sync()


@pytest.mark.parametrize("uses_this_server", [syncs_without_changes, only_pulls, pushes])
def test_what_a_device_has_seen_here_is_not_made_anew_whatever_a_crash_has_left(
    both: Both, uses_this_server: Callable[[Device], None]
) -> None:
    """A line of the old server that came late would else get a place that this device's cursor has passed."""
    here, there = both.device(), both.device()
    one_row_on(both, here, there)
    assert untouched(both)
    both.move(here)
    uses_this_server(here)
    with psycopg.connect(both.url, autocommit=True) as connection:
        connection.execute("TRUNCATE sync.syncs")
    assert not untouched(both)
    clock = there.state.cursor
    assert clock is not None
    both.now -= 1000
    there.insert("todos", str(uuid.uuid4()), {"title": "late"})
    there.sync()
    adopt(both.url)
    [late] = [row for row in both.select("rows") if "late" in row["row_data"]]
    assert late["stamp"] > clock
    here.sync()
    assert title(here, late["rowguid"]) == "late"


def untouched(both: Both) -> bool:
    """Whether what was taken over may be made anew, as no device has seen it."""
    with look_into(both.url) as connection:
        statement = queries("sync", "adoption")["states_of_users"]
        [found] = connection.execute(statement, {"users": [both.user_id]}).fetchall()
    return bool(found["untouched"])


def test_a_client_that_first_synced_after_it_was_taken_over_needs_the_deletes(both: Both) -> None:
    first, second = both.device(), both.device()
    guid = str(uuid.uuid4())
    first.insert("todos", guid, {"title": "first"})
    first.sync()
    adopt(both.url)
    second.sync()
    assert title(second, guid) == "first"
    first.delete("todos", guid)
    first.sync()
    adopt(both.url)
    both.move(first, second)
    second.sync()
    assert second.state.rows == {}


def test_a_client_that_was_broken_off_in_its_first_sync_needs_the_deletes(both: Both) -> None:
    """It has no cursor, and holds rows all the same."""
    first, second = both.device(), both.device()
    guid = str(uuid.uuid4())
    first.insert("todos", guid, {"title": "first"})
    first.sync()
    second.step = crash_when_applied
    assert not second.tries_to_sync()
    assert title(second, guid) == "first"
    first.delete("todos", guid)
    first.sync()
    adopt(both.url)
    both.move(first, second)
    second.step = unhindered
    second.sync()
    assert second.state.rows == {}


def crash_when_applied(step: str) -> None:
    if step == "applied":
        raise Crash


def test_a_device_restored_from_a_backup_hears_of_a_pruned_delete_that_got_a_later_place(both: Both) -> None:
    """The backup is from when the device synced with the old server, past a delete that only this one knew."""
    here, there = both.device(), both.device()
    guid = one_row_on(both, here, there)
    both.move(here)
    here.delete("todos", guid)
    here.sync()
    both.now = wall_clock() + 1000
    there.sync()
    backup = there.backup()
    adopt(both.url)
    assert deleted_titles(both) == ["first", "first"], "also with its later place"
    both.move(there)
    for device in (here, there, here, there):
        device.sync()
    assert there.state.rows == {}
    with look_into(both.url) as connection:
        User(both.wire.send, "main", connection, both.email).prune_tombstones(2**60)
    assert both.select("rows") == []
    there.restore(backup)
    there.sync()
    assert there.state.rows == {}


def test_a_cursor_of_the_future_hides_nothing(both: Both) -> None:
    """The old server's clock was ahead."""
    both.now += 48 * HOUR
    first, second = both.device(), both.device()
    for device in (first, second):
        device.sync()
    adopt(both.url)
    both.move(first, second)
    first.insert("todos", str(uuid.uuid4()), {"title": "by a server whose clock is right"})
    first.sync()
    second.sync()
    assert set(pulled(second).values()) == {"I"}


def test_rows_of_one_moment_all_arrive(both: Both) -> None:
    """More than a page of a pull has, all pushed in the same millisecond."""
    first, second = both.device(), both.device()
    guids = [str(uuid.uuid4()) for _ in range(1100)]
    with psycopg.connect(both.url, autocommit=True) as connection:
        contents = "INSERT INTO public.data SELECT guid, '{\"n\": 1}' FROM unnest(%s::uuid[]) AS pushed (guid)"
        connection.execute(contents, [guids])
        lines = """INSERT INTO public.sync_data (userid, clientid, tablename, rowguid, operation, clientdate, serverdate)
            SELECT %s, %s, 'todos', guid, 'I', %s, %s FROM unnest(%s::uuid[]) AS pushed (guid)"""
        connection.execute(lines, [both.user_id, first.client_id, both.now, both.now, guids])
    adopt(both.url)
    both.move(second)
    second.sync()
    assert {guid for _, guid in second.state.rows} == set(guids)
