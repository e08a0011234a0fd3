"""One line per request, with the id that its answer carries."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from admin.people import make
from observing.conftest import Line
from routes.calls import CALLS, Http, bearer
from sync_server.accounts.roles import Role
from sync_server.observing.calls import Call
from sync_server.observing.lines import Lines
from users import Connection, User, change


def test_an_id_of_the_request_is_taken_and_given_back(http: Http, line_of: Callable[[str], Line]) -> None:
    given = f"edge-{uuid4()}"
    answer = http.client.get("/", headers={"X-Request-ID": given})
    assert answer.headers.get_list("X-Request-ID") == [given]
    assert line_of(given)["route"] == "/"


@pytest.mark.parametrize("sent", [None, "", "ann@example.com", "a b", 'x"y', "é".encode("latin-1"), "x" * 129, "../x;"])
def test_others_are_made(http: Http, line_of: Callable[[str], Line], sent: str | bytes | None) -> None:
    headers = [] if sent is None else [(b"X-Request-ID", sent.encode() if isinstance(sent, str) else sent)]
    made = {http.client.get("/", headers=headers).headers["X-Request-ID"]}
    made.add(http.client.get("/").headers["X-Request-ID"])
    assert len(made) == 2
    for each in made:
        assert each != sent
        assert line_of(each)["status"] == 200


@pytest.mark.parametrize("call", CALLS)
def test_every_call_has_a_line(http: Http, user: User, line_of: Callable[[str], Line], call: str) -> None:
    phone = user.device()
    phone.login()
    made = CALLS[call](phone)
    answer = http.make(made)
    line = line_of(answer.headers["X-Request-ID"])
    assert line["status"] == answer.status_code
    assert line["method"] == "POST"
    assert line["route"].startswith(f"/{made.path.split('/')[1]}/{{realm_name")
    assert line["realm"] == user.realm
    assert line.get("error") == answer.json().get("error")
    assert line["bytes_out"] == len(answer.content) or "Content-Encoding" in answer.headers
    assert 0 < line["ms"] < 60_000
    if made.authorization is not None and made.authorization.startswith("Bearer"):
        assert line["device"] == phone.client_id


def test_rows_in_and_out_are_said_and_who_moved_them(http: Http, user: User, line_of: Callable[[str], Line]) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "a"})
    phone.insert("todos", "2", {"title": "b"})
    phone.sync()
    token = bearer(tablet)
    pulled = http.post(f"/pull/{user.realm}", {"lastSync": 0}, token)
    line = line_of(pulled.headers["X-Request-ID"])
    assert (line["rows_out"], line.get("rows_in"), line["device"]) == (2, None, tablet.client_id)
    pushed = http.post(
        f"/push/{user.realm}", {"isPartial": 0, "changes": [change("D", "1", 1), change("D", "9", 1)]}, token
    )
    line = line_of(pushed.headers["X-Request-ID"])
    assert pushed.status_code == 200
    assert (line["rows_in"], line.get("rows_out")) == (2, None)
    [owner] = user.connection.execute("SELECT id FROM sync.users WHERE email = %s", (user.email,)).fetchall()
    assert line["user"] == str(owner["id"])


def test_what_is_refused_has_a_line_with_the_reason(http: Http, line_of: Callable[[str], Line]) -> None:
    nowhere = http.post("/pull/nowhere", {})
    assert line_of(nowhere.headers["X-Request-ID"])["error"] == "unknown_realm"
    unknown = http.client.get("/no/such/path/ann@example.com")
    line = line_of(unknown.headers["X-Request-ID"])
    assert (line["status"], line["route"]) == (404, None)
    preflight = http.client.options(
        "/push/main", headers={"Origin": "https://x", "Access-Control-Request-Method": "POST"}
    )
    assert preflight.headers["X-Request-ID"]


def test_answers_are_not_to_be_kept_nor_guessed_at(http: Http) -> None:
    for answer in (http.client.get("/"), http.post("/pull/main", {}), http.client.get("/nothing")):
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers.get_list("Cache-Control") == ["no-store"]


def test_pages_are_told_to_show_nothing_of_others_and_in_no_frame(http: Http) -> None:
    for path in ("/api/v1/auth/me", "/api-docs", "/api/nothing"):
        headers = http.client.get(path, follow_redirects=True).headers
        assert headers.get_list("X-Frame-Options") == ["DENY"], path
        assert headers.get_list("Referrer-Policy") == ["no-referrer"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert ("script-src" in headers["Content-Security-Policy"]) == path.startswith("/api-docs")
        assert "Strict-Transport-Security" not in headers, "nobody trustworthy said that it is TLS"
        assert "Access-Control-Allow-Origin" not in headers


def test_who_calls_the_admin_api_is_in_the_line(
    http: Http, line_of: Callable[[str], Line], connections: dict[str, Connection]
) -> None:
    person = make(http.client, connections["main"], "main", Role.VIEWER).signed_in()
    answer = http.client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {person.token}"})
    line = line_of(answer.headers["X-Request-ID"])
    assert (line["route"], line["status"], line["realm"], line["user"]) == (
        "/api/v1/auth/me",
        200,
        "main",
        str(person.id),
    )
    refused = http.client.get("/api/v1/auth/me")
    line = line_of(refused.headers["X-Request-ID"])
    assert (line["error"], line.get("user")) == ("unauthenticated", None)


WRITING = """
import asyncio, sys
from sync_server.observing.calls import Call
from sync_server.observing.lines import Lines
async def main():
    lines = Lines(sys.argv[1])
    for status in (200, 404):
        call = Call("an-id", "POST")
        call.status, call.complete = status, True
        lines.add(call, "/pull/{realm_name:str}", 0.0123)
    await lines.close()
asyncio.run(main())
"""


@pytest.mark.parametrize(("which", "statuses"), [("all", [200, 404]), ("refused", [404]), ("none", [])])
def test_which_requests_are_logged(which: str, statuses: list[int]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITING, which], capture_output=True, text=True, check=True, timeout=60
    )
    assert [json.loads(line)["status"] for line in done.stderr.splitlines()] == statuses


def test_a_terminal_gets_lines_for_people() -> None:
    terminal, end = pty.openpty()
    subprocess.run([sys.executable, "-c", WRITING, "all"], stderr=end, check=True, timeout=60)
    written = os.read(terminal, 4096).decode()
    os.close(end)
    os.close(terminal)
    assert "POST /pull/{realm_name:str} 200 12.3 ms" in written
    assert '{"' not in written


def test_a_reader_that_stands_still_holds_up_nobody_and_what_is_dropped_is_said() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)

    async def log() -> float:
        lines = Lines("all", writing)
        call = Call("an-id", "POST")
        begun = time.monotonic()
        for _ in range(5):
            for _ in range(5000):
                lines.add(call, None, 0.01)
            await asyncio.sleep(0.15)
        taken = time.monotonic() - begun
        assert lines.dropped > 5000
        reader = asyncio.create_task(asyncio.to_thread(_read_all, reading))
        async with asyncio.timeout(60):
            while lines._lines or not lines._writer.idle.is_set():  # noqa: ASYNC110, SLF001 - nothing else tells
                await asyncio.sleep(0.02)
        await lines.close()
        os.close(writing)
        written = [json.loads(line) for line in (await reader).splitlines()]
        said = sum(line["lines"] for line in written if line["event"] == "log_lines_dropped")
        assert said == lines.dropped
        assert sum(line["event"] == "request" for line in written) == 25_000 - said
        return taken

    assert asyncio.run(log()) < 60


def _read_all(reading: int) -> bytes:
    written = b""
    while data := os.read(reading, 1 << 16):
        written += data
    os.close(reading)
    return written
