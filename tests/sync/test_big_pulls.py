"""G2, G7: pulls that are answered in many pages, and what happens to the rows meanwhile."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

import httpx
import pytest

from users import User, sync_all
from wire import Answer, Request, Send, Server, Transport, direct

MEGABYTE = 1024 * 1024


def halfway(server: Server, action: Callable[[], object]) -> Transport:
    """Read the beginning of the pull's answer, let something happen, and read the rest."""

    def transport(request: Request, send: Send) -> Answer:
        if not request.path.startswith("/pull"):
            return send(request)
        url, headers = server.url + request.path, request.headers()
        with httpx.stream("POST", url, content=request.body, headers=headers, timeout=60) as response:
            pieces = response.iter_bytes()
            beginning = next(pieces)
            action()
            return Answer(response.status_code, beginning + b"".join(pieces))

    return transport


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_g7_a_first_pull_of_many_rows_delivers_each_once(user: User, count: int) -> None:
    phone, tablet = user.device(part=2000), user.device()
    for number in range(count):
        phone.insert("todos", f"{number}", {"title": f"row {number}"})
    phone.sync()
    tablet.sync()
    assert [row["rowguid"] for row in tablet.pulled] == [f"{number}" for number in range(count)]
    assert tablet.state.rows == phone.state.rows


@pytest.mark.parametrize("left", [0, 1, 3])
def test_g6_a_first_pull_past_pages_of_deleted_rows_delivers_the_live_ones(user: User, left: int) -> None:
    """Whole pages, the first one too, have nothing that the device must apply."""
    phone, tablet = user.device(part=3000), user.device()
    for number in range(2200):
        phone.insert("todos", f"{number:04}", {"title": "x"})
    phone.sync()
    for number in range(2200):
        phone.delete("todos", f"{number:04}")
    for number in range(left):
        phone.insert("todos", f"later {number}", {"title": "x"})
    phone.sync()
    tablet.sync()
    assert [row["rowguid"] for row in tablet.pulled] == [f"later {number}" for number in range(left)]


def test_g7_a_pull_of_deleted_rows_and_big_ones_delivers_each_once(user: User) -> None:
    """Pages end at a number of rows or of bytes; deleted rows have no bytes."""
    phone, tablet = user.device(part=500), user.device()
    for number in range(1500):
        phone.insert("todos", f"{number:04}", {"title": "x"})
    sync_all(phone, tablet)
    for number in range(1500):
        phone.delete("todos", f"{number:04}")
        if number % 300 == 0:
            phone.insert("notes", f"{number:04}", {"title": "x" * MEGABYTE})
    phone.sync()
    tablet.sync()
    assert tablet.state.rows == phone.state.rows
    assert len(tablet.pulled) == 1505
    assert len({(row["tablename"], row["rowguid"]) for row in tablet.pulled}) == 1505


def test_g2_a_row_that_changes_while_a_big_pull_is_answered_comes_with_the_next(user: User, server: Server) -> None:
    phone, tablet = user.device(part=5), user.device()
    for number in range(24):
        phone.insert("todos", f"{number:02}", {"title": secrets.token_hex(MEGABYTE // 2)})
    sync_all(phone)

    def edit() -> None:
        for guid in ("00", "20", "23"):
            phone.update("todos", guid, {"title": "changed meanwhile"})
        phone.delete("todos", "22")
        phone.insert("todos", "new", {"title": "new"})
        phone.sync()

    tablet.transport = halfway(server, edit)
    tablet.insert("todos", "mine", {"title": "mine"})
    tablet.sync()
    pulled = {row["rowguid"] for row in tablet.pulled}
    assert "new" not in pulled
    assert "23" not in pulled, "the answer was complete before the row changed: the test tests nothing"
    tablet.transport = direct
    sync_all(tablet, phone)
    assert tablet.state.rows == phone.state.rows
    assert len(tablet.state.rows) == 25
    assert tablet.state.rows["todos", "23"] == {"title": "changed meanwhile"}


def test_g10_a_device_that_goes_away_in_the_middle_of_a_big_pull_harms_nobody(user: User, server: Server) -> None:
    phone, tablet = user.device(part=5), user.device()
    for number in range(12):
        phone.insert("todos", f"{number}", {"title": "x" * MEGABYTE})
    phone.sync()
    for _ in range(10):
        tablet.fetch_token()
        path, body = f"/pull/{user.realm}/{tablet.client_id}", tablet.body([], 0, None)
        headers = Request(path, b"", f"Bearer {tablet.state.access}").headers()
        with httpx.stream("POST", server.url + path, content=json.dumps(body), headers=headers) as response:
            next(response.iter_bytes())
    sync_all(tablet, phone)
    assert tablet.state.rows == phone.state.rows
