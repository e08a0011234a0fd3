"""Where one is signed in, and ending what one does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from admin.people import PASSWORD, NewPerson, Person, data, refused
from sync_server.admin.sessions import MOST


def again(person: Person, program: str) -> Person:
    """The same person, signed in with another program."""
    body = {"realm": person.realm, "email": person.email, "password": PASSWORD}
    headers = {"User-Agent": program}
    tokens = data(person.http.post("/api/v1/auth/login", json=body, headers=headers))
    other = Person(person.http, person.connection, person.realm, person.role, person.email, person.id)
    other.token, other.refresh = tokens["access_token"], tokens["refresh_token"]
    return other


def sessions(person: Person, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.get("/auth/sessions", **parameters)
    return found


def actions(person: Person) -> list[str]:
    lines = "SELECT action FROM sync.audit_lines WHERE entity_id = %s ORDER BY number"
    return [line["action"] for line in person.connection.execute(lines, [person.id]).fetchall()]


def test_one_sees_where_one_is_signed_in(new_person: NewPerson) -> None:
    ann = new_person("viewer")
    new_person("viewer")
    console = again(ann, "console" * 100)
    latest, first = sessions(console)
    assert (latest["present"], first["present"]) == (True, False)
    assert [each["present"] for each in sessions(ann)] == [False, True]
    assert latest["id"] == console.get("/auth/me")["session_id"]
    assert (latest["address"], latest["user_agent"]) == ("127.0.0.1", ("console" * 100)[:255])
    assert first["user_agent"].startswith("python-httpx")
    for each in (latest, first):
        created, used, ends = (datetime.fromisoformat(each[name]) for name in ("created_at", "last_used", "expires"))
        assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
        assert abs(used - created) < timedelta(seconds=5)
        assert ends - used == timedelta(days=7)


def test_a_session_is_used_when_its_tokens_are_renewed(new_person: NewPerson) -> None:
    ann = new_person()
    earlier = "UPDATE sync.admin_sessions SET expires = expires - 3600000 WHERE user_id = %s"
    ann.connection.execute(earlier, [ann.id])
    [before] = sessions(ann)
    assert ann.http.post("/api/v1/auth/refresh", json={"refresh_token": ann.refresh}).is_success
    [after] = sessions(ann)
    used = [datetime.fromisoformat(each["last_used"]) for each in (before, after)]
    assert abs(used[1] - used[0] - timedelta(hours=1)) < timedelta(seconds=10)
    assert before["created_at"] == after["created_at"]


def test_what_has_ended_is_not_shown(new_person: NewPerson) -> None:
    ann = new_person()
    again(ann, "old")
    again(ann, "void")
    end = "UPDATE sync.admin_sessions SET {} WHERE user_id = %s AND user_agent = %s"
    ann.connection.execute(end.format("expires = 1").encode(), [ann.id, "old"])
    ann.connection.execute(end.format("token_epoch = token_epoch - 1").encode(), [ann.id, "void"])
    assert [each["present"] for each in sessions(ann)] == [True]


def test_of_too_many_those_go_that_were_not_used_for_longest(new_person: NewPerson) -> None:
    """A program that signs in for every call must neither fill the table nor sign out who is at work."""
    ann, ben = new_person(), new_person()
    many = """
        INSERT INTO sync.admin_sessions (id, user_id, token_epoch, refresh_id, expires, user_agent)
        SELECT gen_random_uuid(), user_id, token_epoch, '', expires - 60000 * number, 'hourly'
        FROM sync.admin_sessions, generate_series(1, %s) AS number WHERE user_id = %s
    """
    ann.connection.execute(many, [MOST + 5, ann.id])
    program = again(ann, "hourly")
    count = "SELECT count(*) AS sessions FROM sync.admin_sessions WHERE user_id = %s"
    assert ann.connection.execute(count, [ann.id]).fetchall() == [{"sessions": MOST}]
    for person in (ann, program, ben):
        assert person.get("/auth/me")["id"] == person.id


def test_they_come_in_pages(new_person: NewPerson) -> None:
    ann = new_person()
    for number in range(3):
        again(ann, str(number))
    everything, cursor, pages = sessions(ann), None, []
    while True:
        answer = ann.call("GET", "/auth/sessions", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        pages.append(data(answer))
        cursor = answer.json()["meta"]["pagination"]["next"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 2]
    assert [each for page in pages for each in page] == everything


def test_one_ends_a_session_of_ones_own(new_person: NewPerson) -> None:
    ann, eve = new_person("viewer"), new_person("owner")
    lost = again(ann, "lost")
    identity = lost.get("/auth/me")["session_id"]
    refused(eve.call("DELETE", f"/auth/sessions/{identity}"), 404, "session_not_found")
    assert data(ann.call("DELETE", f"/auth/sessions/{identity}")) is None
    refused(lost.call("GET", "/auth/me"), 401, "unauthenticated")
    refused(ann.http.post("/api/v1/auth/refresh", json={"refresh_token": lost.refresh}), 401, "unauthenticated")
    refused(ann.call("DELETE", f"/auth/sessions/{identity}"), 404, "session_not_found")
    refused(ann.call("DELETE", f"/auth/sessions/{uuid4()}"), 404, "session_not_found")
    assert len(sessions(ann)) == 1
    assert actions(ann) == ["session.begin", "session.begin", "session.end"]


def test_one_ends_all_others(new_person: NewPerson) -> None:
    ann, bob = new_person("viewer"), new_person("viewer")
    others = [again(ann, str(number)) for number in range(3)]
    assert data(ann.call("POST", "/auth/sessions/end-others")) == {"ended": 3}
    for other in others:
        refused(other.call("GET", "/auth/me"), 401, "unauthenticated")
    assert data(ann.call("POST", "/auth/sessions/end-others")) == {"ended": 0}
    assert [each["present"] for each in sessions(ann) + sessions(bob)] == [True, True]
    assert actions(ann)[4:] == ["session.end_others"]


def test_a_page_ends_its_own_session_with_the_csrf_token_only(new_person: NewPerson) -> None:
    ann = new_person()
    given = ann.login(cookies=True)
    cookies = "; ".join(f"{name}={value}" for name, value in given.cookies.items())
    csrf = data(given)["csrf_token"]

    def call(method: str, path: str, **headers: str) -> httpx.Response:
        return ann.http.request(method, f"/api/v1{path}", headers={"Cookie": cookies, **headers})

    ann.http.cookies.clear()
    [present] = [each for each in data(call("GET", "/auth/sessions")) if each["present"]]
    path = f"/auth/sessions/{present['id']}"
    refused(call("DELETE", path), 403, "csrf_rejected")
    refused(call("POST", "/auth/sessions/end-others"), 403, "csrf_rejected")
    ended = call("DELETE", path, **{"X-CSRF-Token": csrf})
    assert ended.is_success
    assert all("Max-Age=0" in cookie for cookie in ended.headers.get_list("set-cookie"))
    assert len(ended.headers.get_list("set-cookie")) == 3
    ann.http.cookies.clear()
    refused(call("GET", "/auth/me"), 401, "unauthenticated")
