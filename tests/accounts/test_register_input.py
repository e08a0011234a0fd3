"""Registering with odd members, and what passwords may be."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.calls import NOTHING, Calls, Phone
from users import Connection
from wire import new_email

PASSWORDS = {
    "colons": ":a::b:",
    "emoji": "🔑👩‍👩‍👧‍👦 p̈äss",
    "NUL": "before\0after",
    "only NUL": "\0",
    "spaces": "  inner and outer  ",
    "quotes": "\"'\\`${PATH}%00",
    "long": "x" * 1024,
    "72 bytes": "é" * 36,
}


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_any_password_works_and_only_it(calls: Calls, password: str) -> None:
    phone = calls.registered(password=password)
    assert calls.login(phone).error == "ok"
    for other in (password[:-1], password + "x", password + "\0", password.swapcase() + ".", password.strip() + "?"):
        phone.password = other
        assert calls.login(phone).error == "login_rejected"


@pytest.mark.parametrize("common", ["y" * 72, "é" * 36, "a\0", "\0", "🔑" * 18 + "\0"])
def test_passwords_are_told_apart_behind_72_bytes_and_nul(calls: Calls, common: str) -> None:
    """Where bcrypt alone stops reading."""
    phone = calls.registered(password=common + "1")
    for other in (common, common + "2", common + "11"):
        assert calls.login(Phone(phone.email, other, phone.client_id)).error == "login_rejected"
        assert calls.register(Phone(phone.email, other), new=False).error == "registration_rejected"
    assert calls.login(phone).error == "ok"


@settings(max_examples=15)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=100))
def test_every_password_that_can_be_registered_can_log_in(calls: Calls, password: str) -> None:
    phone = calls.registered(password=password)
    assert calls.login(phone).error == "ok"


@pytest.mark.parametrize(
    "description",
    [
        '{"name":"Ann\'s phone 📱","systemName":"iOS"}',
        "no JSON at all",
        "{broken",
        "",
        " ",
        "null",
        None,
        NOTHING,
        {"name": "an object", "nested": [1, 2.5, None, True], "NUL": "a\0b"},
        [],
        17,
        12345678901234567890123,
        False,
        "x" * 10_000,
    ],
)
def test_a_client_description_of_any_kind_is_kept_and_given_back(
    calls: Calls, database: Connection, description: Any
) -> None:
    phone = Phone()
    answer = calls.register(phone, clientDescription=description).ok["user"]
    assert answer["clientDescription"] == (None if description is NOTHING else description)
    assert calls.register(phone, clientDescription=description).ok["user"] == answer
    stored = database.execute("SELECT details FROM sync.clients WHERE id = %s", (phone.client_id,)).fetchone()
    assert stored is not None
    if isinstance(description, str):
        assert stored["details"] == description
    elif description is None or description is NOTHING:
        assert stored["details"] == ""
    else:
        assert json.loads(stored["details"]) == description


@pytest.mark.parametrize("depth", [100, 900, 1100, 100_000])
def test_a_description_of_any_depth_is_taken_or_refused(calls: Calls, depth: int) -> None:
    phone = Phone()
    nested = "[" * depth + "]" * depth
    members = [f'"{name}":"{value}"' for name, value in vars(phone).items()]
    body = "{" + ",".join([*members, f'"clientId":"{phone.client_id}","clientDescription":{nested}']) + "}"
    assert calls.post(f"/register/{calls.realm}", body.encode()).status in (200, 400)


@pytest.mark.parametrize("language", [None, NOTHING, "", "en", "pt-BR", "xx-klingon", "../../etc", "日本語"])
def test_a_language_of_any_kind_is_taken(calls: Calls, language: Any) -> None:
    answer = calls.register(Phone(), language=language).ok["user"]
    assert answer["language"] == (None if language is NOTHING else language)


@pytest.mark.parametrize(
    "name", [None, NOTHING, "", "Ann", "日本語 \U0001f600", "<b>&amp;", "a\r\nBcc: b@example.com", "n" * 255]
)
def test_a_name_of_any_kind_is_taken(calls: Calls, name: Any) -> None:
    phone = Phone()
    stored = "" if name is None or name is NOTHING else name
    assert calls.register(phone, name=name).ok["user"]["name"] == stored
    assert calls.register(phone.another(), new=False, name=None).ok["user"]["name"] == stored


REFUSED: dict[str, dict[str, Any]] = {
    "no email": {"email": NOTHING},
    "null email": {"email": None},
    "empty email": {"email": ""},
    "no address": {"email": "ann"},
    "two addresses": {"email": "a@b@example.com"},
    "nobody": {"email": "@example.com"},
    "nowhere": {"email": "ann@"},
    "inner space": {"email": "a nn@example.com"},
    "line end": {"email": "ann@example.com\r\nBcc: bob@example.com"},
    "NUL in the email": {"email": "a\0nn@example.com"},
    "colon in the email": {"email": f"a:{uuid.uuid4()}@example.com"},
    "long email": {"email": "x" * 250 + "@example.com"},
    "no password": {"password": NOTHING},
    "null password": {"password": None},
    "empty password": {"password": ""},
    "long password": {"password": "x" * 1025},
    "numeric password": {"password": 123456},
    "no clientId": {"clientId": NOTHING},
    "empty clientId": {"clientId": ""},
    "clientId that is none": {"clientId": "phone-1"},
    "numeric clientId": {"clientId": 7},
    "newRegistration as text": {"new": "true"},
    "newRegistration as number": {"new": 1},
    "NUL in the name": {"name": "A\0nn"},
    "long name": {"name": "n" * 256},
    "name as number": {"name": 5},
    "NUL in the language": {"language": "e\0n"},
    "long language": {"language": "e" * 36},
    "NUL in the description": {"clientDescription": "a\0b"},
    "long description": {"clientDescription": "x" * 10_001},
}


@pytest.mark.parametrize("members", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_registered_is_refused_with_the_members_path(
    calls: Calls, database: Connection, members: dict[str, Any]
) -> None:
    options = {"email": new_email(), **members}
    answer = calls.register(Phone(), **options)
    assert answer.error == "invalid_body"
    member = "newRegistration" if "new" in members else next(iter(members))
    assert member in answer.message
    email = options["email"]
    if isinstance(email, str) and "\0" not in email:
        assert database.execute("SELECT 1 FROM sync.users WHERE email = %s", (email,)).fetchone() is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"email":"\\ud800"}', b"[" * 200_000]
)
def test_a_body_that_is_no_registration_is_refused(calls: Calls, body: bytes) -> None:
    assert calls.post(f"/register/{calls.realm}", body).error in ("malformed_body", "invalid_body")
