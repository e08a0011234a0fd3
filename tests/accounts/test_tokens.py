"""Tokens that are not, or no longer, what they say."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.calls import Calls, Phone
from accounts.test_refresh import claims_of
from sync_server.accounts.tokens import REFRESH_SECONDS
from sync_server.keys import Keys
from users import Connection


@pytest.fixture
def phone(calls: Calls) -> Phone:
    return calls.registered()


def signed(keys: Keys, kind: str, claims: dict[str, Any], **differences: Any) -> str:
    changed = {name: it for name, it in {**claims, **differences}.items() if it is not None}
    return jwt.encode(changed, keys.access if kind == "access" else keys.refresh, algorithm="HS256")


def test_a_token_that_the_test_signs_is_taken(calls: Calls, phone: Phone, keys: Keys) -> None:
    """So that the refusals below have their reason in the differences."""
    login = calls.login(phone)
    assert calls.refresh(signed(keys, "refresh", claims_of(login.refresh))).error == "ok"
    assert calls.cancel(phone, signed(keys, "access", claims_of(login.access))).error == "ok"


DIFFERENCES: dict[str, dict[str, Any]] = {
    "expired": {"exp": int(time.time()) - 1},
    "expires never": {"exp": None},
    "of no user": {"sub": None},
    "of another user": {"sub": str(uuid.uuid4())},
    "of a user that is none": {"sub": "ann"},
    "of another client": {"cid": str(uuid.uuid4())},
    "of no client": {"cid": None},
    "of another realm": {"realm": "other"},
    "of no realm": {"realm": None},
    "of another kind": {"typ": "password"},
    "of no kind": {"typ": None},
    "of an earlier epoch": {"epoch": -1},
    "of a later epoch": {"epoch": 1},
    "of another session": {"ses": 7},
    "without a number": {"n": None},
    "without an id": {"jti": None},
    "not yet valid": {"nbf": int(time.time()) + 1000},
}


@pytest.mark.parametrize("differences", DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_token_with_other_claims_is_void(calls: Calls, phone: Phone, keys: Keys, differences: dict[str, Any]) -> None:
    login = calls.login(phone)
    access = signed(keys, "access", claims_of(login.access), **differences)
    assert calls.cancel(phone, access).error in ("token_rejected", "client_mismatch")
    assert calls.refresh(signed(keys, "refresh", claims_of(login.refresh), **differences)).error == "token_rejected"
    assert calls.refresh(login.refresh).error == "ok"


def test_each_kind_has_its_own_key_and_its_own_use(calls: Calls, phone: Phone, keys: Keys) -> None:
    login = calls.login(phone)
    access, refresh = claims_of(login.access), claims_of(login.refresh)
    assert calls.refresh(login.access).error == "token_rejected"
    assert calls.cancel(phone, login.refresh).error == "token_rejected"
    assert calls.refresh(signed(keys, "access", refresh)).error == "token_rejected"
    assert calls.cancel(phone, signed(keys, "refresh", access)).error == "token_rejected"
    assert calls.refresh(signed(keys, "refresh", access)).error == "token_rejected"
    assert calls.cancel(phone, signed(keys, "access", refresh)).error == "token_rejected"


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


FORGERIES: dict[str, Callable[[str], str]] = {
    "alg none": lambda token: f"{part({'alg': 'none', 'typ': 'JWT'})}.{token.split('.')[1]}.",
    "alg None": lambda token: f"{part({'alg': 'None'})}.{token.split('.')[1]}.{token.split('.')[2]}",
    "alg HS512": lambda token: f"{part({'alg': 'HS512'})}.{token.split('.')[1]}.{token.split('.')[2]}",
    "alg RS256": lambda token: f"{part({'alg': 'RS256'})}.{token.split('.')[1]}.{token.split('.')[2]}",
    "no algorithm": lambda token: f"{part({})}.{token.split('.')[1]}.{token.split('.')[2]}",
    "a header that is no object": lambda token: f"{part([])}.{token.split('.')[1]}.{token.split('.')[2]}",
    "a deep header": lambda token: f"{deep(20_000)}.{token.split('.')[1]}.{token.split('.')[2]}",
    "no signature": lambda token: token.rsplit(".", 1)[0] + ".",
    "a cut one": lambda token: token[:-2],
    "two parts": lambda token: token.rsplit(".", 1)[0],
    "four parts": lambda token: token + ".x",
    "empty": lambda _: "",
    "dots": lambda _: "..",
    "Unicode": lambda _: "tökén.✓.🔑",
    "NUL": lambda token: token + "\0",
}


def deep(levels: int) -> str:
    return base64.urlsafe_b64encode(b"[" * levels + b"]" * levels).rstrip(b"=").decode()


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_is_void(calls: Calls, phone: Phone, forge: Callable[[str], str]) -> None:
    login = calls.login(phone)
    assert calls.refresh(forge(login.refresh)).error == "token_rejected"
    if forge(login.access).strip("\0") == forge(login.access) != "":  # else httpx does not send it
        assert calls.cancel(phone, forge(login.access)).error == "token_rejected"
    assert calls.refresh(login.refresh).error == "ok"


@settings(max_examples=60)
@given(st.data())
def test_a_token_with_any_other_character_is_void(calls: Calls, data: st.DataObject) -> None:
    phone = calls.registered()
    token = calls.login(phone).access
    share = data.draw(st.floats(0, 1, exclude_max=True))  # for tokens differ in length
    place = int(share * (len(token) - 1))  # the last character has bits that say nothing
    character = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda it: it != token[place]))
    assert calls.cancel(phone, token[:place] + character + token[place + 1 :]).error == "token_rejected"


def test_a_deactivated_users_tokens_are_void_at_once(calls: Calls, database: Connection, phone: Phone) -> None:
    login = calls.login(phone)
    database.execute("UPDATE sync.users SET active = false WHERE email = %s", (phone.email,))
    assert calls.cancel(phone, login.access).error == "token_rejected"
    assert calls.refresh(login.refresh).error == "token_rejected"
    assert calls.unregister(phone, login.access).error == "token_rejected"
    assert calls.login(phone).error == "login_rejected"
    assert calls.register(phone.another(), new=False).error == "registration_rejected"
    database.execute("UPDATE sync.users SET active = true WHERE email = %s", (phone.email,))
    assert calls.login(phone).error == "ok"


def test_a_refresh_token_lives_for_weeks_beyond_its_last_use(calls: Calls, phone: Phone) -> None:
    """A phone that lies in a drawer for a month syncs again without a login."""
    token = calls.refresh(calls.login(phone).refresh).refresh
    assert claims_of(token)["exp"] - time.time() > 30 * 86_400
    assert claims_of(token)["exp"] - time.time() <= REFRESH_SECONDS
