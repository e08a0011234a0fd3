"""Pulls of many pages: whole, in order and valid JSON, whatever happens meanwhile; large rows; compression."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from conftest import Server
from device import Device
from postgres import superuser
from routes.calls import Http, bearer
from routes.streams import ROW_BYTES, ROWS, fill, random_text, read, slow_pull
from users import Connection, User, change, sync_all
from wire import Wire

PAGE = 1000  # rows
PAGE_BYTES = 1024 * 1024
ENCODINGS = ["identity", "gzip"]


@dataclass
class Library:
    """A user with very many rows."""

    user: User
    phone: Device
    rows: dict[str, str]

    def tablet(self) -> Device:
        """Another device, which has nothing yet."""
        device = self.user.device()
        device.login()
        return device


@pytest.fixture(scope="module")
def library(server: Server, http: Http, wire: Wire, connections: dict[str, Connection]) -> Iterator[Library]:
    """For tests that leave its rows alone."""
    with build(http, User(wire.send, server.realm, connections[server.realm])) as built:
        yield built


@contextmanager
def build(http: Http, user: User) -> Iterator[Library]:
    phone = user.device()
    rows = {f"row {number}": random_text(ROW_BYTES) for number in range(ROWS)}
    fill(http, phone, list(rows.items()))
    yield Library(user, phone, rows)
    phone.unregister(delete_remote_data=True)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_large_pull_is_whole_ordered_and_valid(server: Server, library: Library, encoding: str) -> None:
    with slow_pull(server.url, library.tablet(), encoding) as answer:
        pulled = read(answer)
    assert [row["rowguid"] for row in pulled["data"]] == list(library.rows)
    assert {row["rowguid"]: row["rowData"]["title"] for row in pulled["data"]} == library.rows
    assert pulled["lastSync"] == library.user.clock
    stamps = [row["serverdate"] for row in pulled["data"]]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == ROWS // PAGE


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_changes_during_a_large_pull_comes_with_the_next(
    server: Server, http: Http, user: User, encoding: str
) -> None:
    with build(http, user) as library:
        change_during_a_pull(server, http, library, encoding)


def change_during_a_pull(server: Server, http: Http, library: Library, encoding: str) -> None:
    tablet, writer = library.tablet(), library.tablet()
    early, late, gone, new = "row 0", f"row {ROWS - 1}", f"row {ROWS - 2}", "new"
    writer.pull([], library.user.clock)
    with slow_pull(server.url, tablet, encoding) as answer:
        beginning = bytearray(next(pieces := answer.iter_bytes(8192)))
        changes = [change("U", guid, 2, {"title": "changed"}) for guid in (early, late)]
        changes += [change("D", gone, 2), change("I", new, 2, {"title": "new"})]
        assert http.post("/push/main", writer.body(changes, 0, 0), bearer(writer)).status_code == 200
        beginning += b"".join(pieces)
    first = json.loads(beginning)
    guids = [row["rowguid"] for row in first["data"]]
    assert len(guids) == len(set(guids))
    assert set(library.rows) - set(guids) == {late, gone}  # changed before the server came to them
    assert {row["rowguid"]: row["rowData"]["title"] for row in first["data"]}.items() <= library.rows.items()
    assert first["lastSync"] < library.user.clock
    assert tablet.push([]) == first["lastSync"]  # others have pushed meanwhile
    second = tablet.pull([], first["lastSync"])
    assert [(row["rowguid"], row["operation"]) for row in second["data"]] == [
        (early, "U"),
        (late, "U"),
        (gone, "D"),
        (new, "I"),
    ]


def test_connections_that_are_cut_between_two_pages_are_not_noticed(
    server: Server, library: Library, database_url: str
) -> None:
    """Each page is a read of its own, which is tried again on another connection."""
    cut = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'sync-server' AND datname = %s"""
    database = library.user.connection.info.dbname
    admin = psycopg.connect(superuser(database_url), autocommit=True)  # past a pooler, which might be cut for us
    with admin, slow_pull(server.url, library.tablet()) as answer:
        text = bytearray()
        for number, piece in enumerate(answer.iter_bytes(1024 * 1024)):
            text += piece
            if number % 4 == 0:
                assert admin.execute(cut, [database]).fetchall()
    assert [row["rowguid"] for row in json.loads(text)["data"]] == list(library.rows)


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_a_page_that_is_just_full_ends_well(http: Http, user: User, count: int) -> None:
    phone, tablet = user.device(), user.device()
    guids = [str(number) for number in range(count)]
    fill(http, phone, [(guid, "x") for guid in guids])
    assert [row["rowguid"] for row in tablet.pull([], 0)["data"]] == guids


@pytest.mark.parametrize("live", ["first", "in the middle", "last", None])
def test_pages_that_have_nothing_for_the_device_are_passed_over(http: Http, user: User, live: str | None) -> None:
    """A new device is not told of rows that were deleted before its time, however many."""
    phone, tablet = user.device(), user.device()
    dead = [str(number) for number in range(2 * PAGE + 1)]

    def delete(guids: list[str]) -> None:
        phone.pull([], user.clock)
        changes = [change("D", guid, 1) for guid in guids]
        assert http.post("/push/main", phone.body(changes, 0, 0), bearer(phone)).status_code == 200

    half = len(dead) // 2 if live == "in the middle" else len(dead)
    if live == "first":
        fill(http, phone, [("live", "x")])
    delete(dead[:half])
    if live in ("in the middle", "last"):
        fill(http, phone, [("live", "x")])
    delete(dead[half:])
    answer = tablet.pull([], 0)
    assert [row["rowguid"] for row in answer["data"]] == (["live"] if live else [])
    assert answer["lastSync"] == user.clock


@pytest.mark.parametrize("size", [PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, PAGE_BYTES // 2])
def test_so_does_a_page_that_is_full_by_bytes(http: Http, user: User, size: int) -> None:
    phone, tablet = user.device(), user.device()
    empty = len(json.dumps({"title": ""}))
    rows = [(str(number), "x" * (size - empty)) for number in range(4)]
    fill(http, phone, rows)
    assert [(row["rowguid"], row["rowData"]["title"]) for row in tablet.pull([], 0)["data"]] == rows


def test_a_row_of_several_megabytes_travels(user: User) -> None:
    phone, tablet = user.device(), user.device()
    text = random_text(5_000_000)
    for number in range(3):
        phone.insert("todos", f"{number}", {"title": f"{number}{text}"})
        phone.sync()
    sync_all(tablet)
    assert tablet.state.rows == phone.state.rows


@pytest.fixture
def pages(http: Http, user: User) -> Callable[[str | None], httpx.Response]:
    """Makes the same pull again and again, with another Accept-Encoding each time; nothing of the answer is decoded."""
    phone, tablet = user.device(), user.device()
    fill(http, phone, [(str(number), "x" * 100) for number in range(40)])
    headers = {"Authorization": bearer(tablet), "Content-Type": "application/json"}

    def pull(encoding: str | None) -> httpx.Response:
        request = http.client.build_request("POST", "/pull/main", json=tablet.body([], 0, 0), headers=headers)
        del request.headers["Accept-Encoding"]
        if encoding is not None:
            request.headers["Accept-Encoding"] = encoding
        answer = http.client.send(request, stream=True)
        return httpx.Response(200, headers=answer.headers, stream=httpx.ByteStream(b"".join(answer.iter_raw())))

    return pull


@pytest.mark.parametrize("encoding", ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8, *;q=0.1"])
def test_an_answer_is_compressed_for_those_who_take_it(
    pages: Callable[[str | None], httpx.Response], encoding: str
) -> None:
    plain, zipped = b"".join(pages(None).iter_raw()), pages(encoding)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in zipped.headers["Vary"]
    body = b"".join(zipped.iter_raw())
    assert gzip.decompress(body) == plain
    assert len(body) < len(plain) / 4
    assert len(json.loads(plain)["data"]) == 40


@pytest.mark.parametrize("encoding", [None, "identity", "br", "*;q=0"])
def test_it_is_not_for_the_others(pages: Callable[[str | None], httpx.Response], encoding: str | None) -> None:
    answer = pages(encoding)
    assert "Content-Encoding" not in answer.headers
    assert len(json.loads(b"".join(answer.iter_raw()))["data"]) == 40


def test_short_answers_are_not_compressed(http: Http, user: User) -> None:
    phone = user.device()
    for path, body in [("/pull/main", {"lastSync": 0}), ("/cancelSync/main", {})]:
        answer = http.post(path, body, bearer(phone), Accept_Encoding="gzip")
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers
