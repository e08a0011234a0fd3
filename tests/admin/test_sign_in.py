"""Signing in, staying signed in, and everything that ends it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from admin.people import NewPerson, Person, data, refused
from conftest import Server
from routes.conftest import keys_of
from users import User


def test_who_signed_in_is_told_who_they_are(new_person: NewPerson) -> None:
    ann = new_person("technician")
    me = ann.get("/auth/me")
    assert (me["id"], me["email"], me["realm"], me["role"]) == (ann.id, ann.email, "main", "technician")
    assert me["name"] == "Ann"


@pytest.mark.parametrize("role", ["user", "unheard of"])
def test_a_role_without_access_is_refused_like_a_wrong_password(new_person: NewPerson, role: str) -> None:
    person = new_person("user")
    person.connection.execute("UPDATE sync.users SET role = %s WHERE id = %s", [role, person.id])
    right, wrong = person.login(), person.login("wrong")
    refused(right, 401, "sign_in_rejected")
    assert right.json() == wrong.json()
    person.email = "nobody@example.com"
    assert person.login().json() == wrong.json()


def test_a_wrong_password_and_a_locked_account_are_refused(new_person: NewPerson) -> None:
    ann = new_person()
    refused(ann.login("wrong"), 401, "sign_in_rejected")
    ann.connection.execute("UPDATE sync.users SET active = false WHERE id = %s", [ann.id])
    refused(ann.login(), 401, "sign_in_rejected")
    refused(ann.call("GET", "/auth/me"), 401, "unauthenticated")


def test_an_unknown_realm_is_404(new_person: NewPerson) -> None:
    ann = new_person()
    ann.realm = "nowhere"
    refused(ann.login(), 404, "unknown_realm")


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer x", "Basic YTpi", "Bearer " + "x" * 5000, "Bearer a.b.c"]
)
def test_without_a_token_there_is_nothing(http: httpx.Client, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = http.get("/api/v1/auth/me", headers=headers)
    refused(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_tokens_of_devices_and_of_admins_are_of_two_kinds(new_person: NewPerson, user: User) -> None:
    ann, phone = new_person(), user.device()
    phone.login()
    for token in (phone.state.access, phone.state.refresh, ann.refresh):
        refused(ann.call("GET", "/auth/me", headers={"Authorization": f"Bearer {token}"}), 401, "unauthenticated")
    for token in (phone.state.access, phone.state.refresh, ann.token):
        refused(ann.http.post("/api/v1/auth/refresh", json={"refresh_token": token}), 401, "unauthenticated")
    for token in (ann.token, ann.refresh):
        headers = {"Authorization": f"Bearer {token}"}
        assert ann.http.post("/pull/main", json={"lastSync": 0}, headers=headers).status_code == 403
        assert ann.http.post("/login/main/refreshToken", json={"refreshToken": token}).status_code == 403


def _forged(person: Person, server: Server, key: str, **changed: Any) -> str:
    keys = keys_of(server.data_dir)
    claims = jwt.decode(person.token, options={"verify_signature": False})
    claims.update(changed)
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, getattr(keys, key), "HS256")


def test_a_token_is_good_as_it_was_issued_only(new_person: NewPerson, server: Server) -> None:
    ann, bob = new_person(), new_person()
    sound = _forged(ann, server, "admin_access")
    assert ann.call("GET", "/auth/me", headers={"Authorization": f"Bearer {sound}"}).is_success
    session = jwt.decode(bob.token, options={"verify_signature": False})["sid"]
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("access", {}),
        ("admin_refresh", {}),
        ("admin_access", {"typ": "refresh"}),
        ("admin_access", {"aud": "sync-server"}),
        ("admin_access", {"aud": None}),
        ("admin_access", {"exp": int(time.time()) - 1}),
        ("admin_access", {"exp": None}),
        ("admin_access", {"realm": "other"}),
        ("admin_access", {"realm": "nowhere"}),
        ("admin_access", {"sid": session}),
        ("admin_access", {"sid": "x"}),
        ("admin_access", {"sub": bob.id}),
    ]
    for key, changed in wrong:
        token = _forged(ann, server, key, **changed)
        answer = ann.call("GET", "/auth/me", headers={"Authorization": f"Bearer {token}"})
        refused(answer, 401, "unauthenticated")


def _refresh(person: Person, token: str) -> httpx.Response:
    return person.http.post("/api/v1/auth/refresh", json={"refresh_token": token})


def test_a_refresh_token_is_replaced_at_each_use_and_a_lost_answer_costs_nothing(new_person: NewPerson) -> None:
    ann = new_person()
    lost = data(_refresh(ann, ann.refresh))
    second = data(_refresh(ann, ann.refresh))  # its answer was lost
    assert lost["refresh_token"] != ann.refresh
    third = data(_refresh(ann, second["refresh_token"]))
    ann.token = third["access_token"]
    assert ann.get("/auth/me")["id"] == ann.id


def test_a_copied_refresh_token_ends_the_session(new_person: NewPerson) -> None:
    ann = new_person()
    stolen = ann.refresh
    for _ in range(2):
        tokens = data(_refresh(ann, ann.refresh))
        ann.token, ann.refresh = tokens["access_token"], tokens["refresh_token"]
    refused(_refresh(ann, stolen), 401, "unauthenticated")
    refused(_refresh(ann, ann.refresh), 401, "unauthenticated")
    refused(ann.call("GET", "/auth/me"), 401, "unauthenticated")


def _let_pass(person: Person, milliseconds: int) -> None:
    """As if the latest rotation had been so long ago."""
    past = "UPDATE sync.admin_sessions SET expires = expires - %s WHERE user_id = %s"
    person.connection.execute(past, [milliseconds, person.id])


def test_the_token_before_is_taken_for_a_minute_only(new_person: NewPerson) -> None:
    """Else a copy of it would live beside the owner's for good: it would get each of their tokens from them."""
    ann = new_person()
    owner = data(_refresh(ann, ann.refresh))
    ann.token = owner["access_token"]
    _let_pass(ann, 55_000)
    assert _refresh(ann, ann.refresh).is_success
    _let_pass(ann, 10_000)
    refused(_refresh(ann, ann.refresh), 401, "unauthenticated")
    refused(ann.call("GET", "/auth/me"), 401, "unauthenticated")
    refused(_refresh(ann, owner["refresh_token"]), 401, "unauthenticated")
    lines = "SELECT action FROM sync.audit_lines WHERE entity_id = %s ORDER BY number"
    actions = [line["action"] for line in ann.connection.execute(lines, [ann.id]).fetchall()]
    assert actions == ["session.begin", "session.reused"], "once, whoever else comes"


def test_signing_out_ends_this_session_only(new_person: NewPerson) -> None:
    ann = new_person()
    token, refresh = ann.token, ann.refresh
    ann.signed_in()
    assert ann.call("POST", "/auth/logout").is_success
    refused(ann.call("GET", "/auth/me"), 401, "unauthenticated")
    refused(_refresh(ann, ann.refresh), 401, "unauthenticated")
    ann.token = token
    assert ann.get("/auth/me")["id"] == ann.id
    assert _refresh(ann, refresh).is_success


@pytest.mark.parametrize(
    "change", ["token_epoch = token_epoch + 1", "active = false", "role = 'user'", "role = 'nothing'"]
)
def test_a_revocation_counts_from_the_next_call_on(new_person: NewPerson, change: str) -> None:
    ann = new_person()
    ann.connection.execute(f"UPDATE sync.users SET {change} WHERE id = %s".encode(), [ann.id])
    refused(ann.call("GET", "/auth/me"), 401, "unauthenticated")
    refused(_refresh(ann, ann.refresh), 401, "unauthenticated")


def test_a_session_ends_after_a_week_unused(new_person: NewPerson) -> None:
    ann = new_person()
    [found] = ann.connection.execute("SELECT * FROM sync.admin_sessions WHERE user_id = %s", [ann.id]).fetchall()
    week = datetime.fromtimestamp(found["expires"] / 1000, UTC) - found["created_at"]
    assert abs(week - timedelta(days=7)) < timedelta(seconds=5)
    earlier = "UPDATE sync.admin_sessions SET expires = expires - 604800000 WHERE user_id = %s"
    ann.connection.execute(earlier, [ann.id])
    refused(ann.call("GET", "/auth/me"), 401, "unauthenticated")
    refused(_refresh(ann, ann.refresh), 401, "unauthenticated")
    ann.signed_in()
    rows = ann.connection.execute("SELECT id FROM sync.admin_sessions WHERE user_id = %s", [ann.id]).fetchall()
    assert len(rows) == 1, "what has ended is cleared away"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_body"),
        (b"", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b'{"realm": "main"}', 422, "invalid"),
        (b'{"realm": "", "email": "a@example.com", "password": "x"}', 422, "invalid"),
        (b'{"realm": 1, "email": "a@example.com", "password": "x"}', 422, "invalid"),
        (b'{"realm": "main", "email": 1, "password": "x"}', 422, "invalid"),
        (b'{"realm": "main", "email": "a\\u0000b", "password": "x"}', 422, "invalid"),
        (b'{"realm": "main", "email": "a@example.com", "password": "x", "more": 1}', 422, "invalid"),
        (b'{"realm": "main", "email": "a@example.com", "password": ""}', 422, "invalid"),
        (b'{"realm": "\\ud800", "email": "a@example.com", "password": "\\ud800"}', 400, "malformed_body"),
        (b"\xff", 400, "malformed_body"),
        (b"[" * 5000, 400, "malformed_body"),
    ],
)
def test_a_body_that_is_no_sign_in_is_refused(http: httpx.Client, body: bytes, status: int, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    refused(http.post("/api/v1/auth/login", content=body, headers=headers), status, code)
    refused(
        http.post("/api/v1/auth/login", content=body, headers={"Content-Type": "text/plain"}),
        415,
        "unsupported_media_type",
    )
