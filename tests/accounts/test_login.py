"""Logging in: what opens the door, and that nothing tells what was wrong."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from typing import Any

import bcrypt
import jwt
import pytest

from accounts.calls import Calls, Phone, basic
from users import Connection
from wire import new_email


def test_the_answer_has_every_member_in_both_spellings(calls: Calls) -> None:
    phone = calls.registered()
    before = int(time.time()) * 1000
    answers = [calls.login(phone).ok]
    answers.append(calls.refresh(answers[0]["refreshToken"]).ok)
    for answer in answers:
        assert answer.keys() == {
            "token_type",
            "access_token",
            "refresh_token",
            "expires_in",
            "expires_on",
            "accessToken",
            "refreshToken",
        }
        assert answer["token_type"] == "Bearer"
        assert answer["expires_in"] == 86_400
        assert before + 86_400_000 <= answer["expires_on"] <= time.time() * 1000 + 86_400_000
        assert answer["access_token"] == answer["accessToken"] != answer["refreshToken"] == answer["refresh_token"]
        claims = jwt.decode(answer["accessToken"], options={"verify_signature": False})
        assert claims["exp"] * 1000 == answer["expires_on"]
        assert claims["cid"] == phone.client_id


@pytest.mark.parametrize("scheme", ["Basic ", "basic ", "BASIC ", "Basic  "])
def test_credentials_are_read_as_rfc_7617_says(calls: Calls, scheme: str) -> None:
    phone = calls.registered(password="a:b: ü✓🔑")
    authorization = scheme + basic(phone.email, phone.password).removeprefix("Basic ")
    assert calls.post(f"/login/{calls.realm}", {"clientId": phone.client_id}, authorization).error == "ok"


def encoded(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


ODD_HEADERS: dict[str, str | bytes | None] = {
    "none": None,
    "empty": "",
    "scheme only": "Basic",
    "no colon": f"Basic {encoded('ann@example.com')}",
    "only a colon": f"Basic {encoded(':')}",
    "no email": f"Basic {encoded(':password')}",
    "bad base64": "Basic !!!!",
    "cut base64": f"Basic {encoded('ann@example.com:password')[:-1]}",
    "url-safe base64": "Basic " + base64.urlsafe_b64encode("ü?>:ÿÿÿ".encode()).decode(),
    "latin-1 within": f"Basic {encoded('ann@example.com:pässword', 'latin-1')}",
    "latin-1 outside": "Basic äöü".encode("latin-1"),
    "UTF-8 outside": "Basic äöü".encode(),
    "another scheme": f"Digest {encoded('ann@example.com:password')}",
    "bearer": "Bearer abc.def.ghi",
    "NUL in the email": f"Basic {encoded('a' + chr(0) + 'nn@example.com:password')}",
    "NUL in the password": f"Basic {encoded('ann@example.com:' + chr(0))}",
    "a long one": f"Basic {encoded('ann@example.com:' + 'x' * 40_000)}",
}


@pytest.mark.parametrize("header", ODD_HEADERS.values(), ids=ODD_HEADERS)
def test_odd_credentials_are_wrong_credentials(calls: Calls, header: str | bytes | None) -> None:
    phone = calls.registered()
    answer = calls.post(f"/login/{calls.realm}", {"clientId": phone.client_id}, header)
    assert (answer.status, answer.error) == (403, "login_rejected")


@pytest.mark.parametrize("body", [{}, {"clientId": None}, {"clientId": "x"}, {"clientId": 1}, [], "", None])
def test_a_login_without_a_client_is_refused(calls: Calls, body: Any) -> None:
    phone = calls.registered()
    assert calls.post(f"/login/{calls.realm}", body, basic(phone.email, phone.password)).error == "invalid_body"


def wrong_logins(calls: Calls, database: Connection) -> dict[str, Phone]:
    """Every way in which a login can be wrong, by name."""
    phone, stranger, inactive = calls.registered(), calls.registered(), calls.registered()
    database.execute("UPDATE sync.users SET active = false WHERE email = %s", (inactive.email,))
    left = calls.registered()
    calls.unregister(left, calls.login(left).access).ok  # noqa: B018 - asserts
    return {
        "wrong password": Phone(phone.email, "wrong", phone.client_id),
        "empty password": Phone(phone.email, "", phone.client_id),
        "unknown user": Phone(new_email(), phone.password, phone.client_id),
        "foreign client": phone.another(client_id=stranger.client_id),
        "unknown client": phone.another(),
        "unregistered client": left,
        "inactive user": inactive,
        "everything": Phone(),
    }


def test_whatever_is_wrong_the_answer_is_the_same(calls: Calls, database: Connection) -> None:
    answers = {what: calls.login(phone) for what, phone in wrong_logins(calls, database).items()}
    seen = {(answer.status, answer.body, frozenset(dict(answer.headers) | {"date": ""})) for answer in answers.values()}
    assert len(seen) == 1, answers
    assert answers["unknown user"].error == "login_rejected"


def hash_of(database: Connection, phone: Phone) -> str:
    row = database.execute("SELECT password_hash FROM sync.users WHERE email = %s", (phone.email,)).fetchone()
    assert row is not None
    return str(row["password_hash"])


def set_hash(database: Connection, phone: Phone, password_hash: str) -> None:
    database.execute("UPDATE sync.users SET password_hash = %s WHERE email = %s", (password_hash, phone.email))


def adopted(password: str, salt: str) -> str:
    """A hash as sync_server_ts made it."""
    return f"sha512${salt}${hashlib.sha512((password + salt).encode()).hexdigest()}"


@pytest.mark.parametrize("salt", ["5b1f", "", "with$dollar", "ümläut"])
def test_an_adopted_hash_opens_and_is_replaced_at_the_login(calls: Calls, database: Connection, salt: str) -> None:
    phone = calls.registered(password="ä:🔑")
    old = adopted(phone.password, salt)
    set_hash(database, phone, old)
    assert calls.login(Phone(phone.email, "wrong", phone.client_id)).error == "login_rejected"
    assert calls.login(phone.another()).error == "login_rejected"
    assert hash_of(database, phone) == old
    tokens = calls.login(phone)
    assert hash_of(database, phone).startswith("$2b$04$")
    for again in (calls.login(phone), calls.refresh(tokens.refresh), calls.register(phone.another(), new=False)):
        assert again.error == "ok"
    assert calls.login(Phone(phone.email, "wrong", phone.client_id)).error == "login_rejected"


def test_a_second_device_registers_with_an_adopted_hash(calls: Calls, database: Connection) -> None:
    phone = calls.registered()
    set_hash(database, phone, adopted(phone.password, "salt"))
    assert calls.register(phone.another(), new=False).error == "ok"
    assert calls.register(Phone(phone.email, "wrong"), new=False).error == "registration_rejected"


def test_a_hash_with_other_rounds_is_replaced_and_one_with_the_right_ones_kept(
    calls: Calls, database: Connection
) -> None:
    phone = calls.registered()
    shortened = base64.b64encode(hashlib.sha256(phone.password.encode()).digest())
    set_hash(database, phone, bcrypt.hashpw(shortened, bcrypt.gensalt(6)).decode())
    assert calls.login(phone).error == "ok"
    better = hash_of(database, phone)
    assert better.startswith("$2b$04$")
    assert calls.login(phone).error == "ok"
    assert hash_of(database, phone) == better


@pytest.mark.parametrize(
    "unusable", ["!", "", "*", "$2b$04$short", "sha512$", "sha512$salt$", "sha512$salt$ü", "md5$a$b"]
)
def test_a_hash_that_is_none_locks_the_account(calls: Calls, database: Connection, unusable: str) -> None:
    """As operators lock accounts, and as damage looks like."""
    phone = calls.registered()
    set_hash(database, phone, unusable)
    for password in (phone.password, unusable, ""):
        assert calls.login(Phone(phone.email, password, phone.client_id)).error == "login_rejected"


def test_every_login_has_tokens_of_its_own(calls: Calls) -> None:
    phone = calls.registered()
    logins = [calls.login(phone) for _ in range(3)]
    assert len({login.refresh for login in logins}) == len({login.access for login in logins}) == 3
    assert calls.cancel(phone, logins[0].access).error == "ok"
    assert len({jwt.decode(it.access, options={"verify_signature": False})["jti"] for it in logins}) == 3
    assert uuid.UUID(phone.client_id).version == 4
