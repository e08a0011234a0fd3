"""Registering: the answers that sync_client tells apart, and what is stored."""

from __future__ import annotations

import json
import unicodedata
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.calls import NOTHING, Calls, Phone
from sync_server.accounts.protocol import email_key
from users import Connection
from wire import new_email


def user_of(database: Connection, email: str) -> dict[str, Any] | None:
    return database.execute("SELECT * FROM sync.users WHERE email = %s", (email,)).fetchone()


def client_of(database: Connection, phone: Phone) -> dict[str, Any] | None:
    return database.execute("SELECT * FROM sync.clients WHERE id = %s", (phone.client_id,)).fetchone()


def test_a_new_user_gets_the_documented_answer(calls: Calls, database: Connection) -> None:
    phone = Phone()
    assert calls.register(phone).ok == {
        "message": "User and Client registered successfully!",
        "user": {
            "name": "Ann",
            "email": phone.email,
            "clientId": phone.client_id,
            "clientDescription": '{"name":"Ann\'s phone","systemName":"iOS"}',
            "newRegistration": True,
            "language": "en",
        },
    }
    user, client = user_of(database, phone.email), client_of(database, phone)
    assert user is not None
    assert client is not None
    assert (user["id"], user["name"], user["language"]) == (client["user_id"], "Ann", "en")
    assert json.loads(client["details"]) == {"name": "Ann's phone", "systemName": "iOS"}


@pytest.mark.parametrize(
    ("new", "differences", "error", "substring"),
    [
        (True, {"client_id": str(uuid.uuid4())}, "email_taken", "The email is already registered"),
        (True, {"client_id": str(uuid.uuid4()), "password": "other"}, "email_taken", "The email is already registered"),
        (True, {"password": "other"}, "email_taken", "The email is already registered"),
        (False, {"email": new_email()}, "email_unknown", "email is not registered"),
        (False, {"password": "other"}, "registration_rejected", "Wrong username or password"),
        (False, {"password": ""}, "registration_rejected", "Wrong username or password"),
        (NOTHING, {"password": "other"}, "registration_rejected", "Wrong username or password"),
        (None, {"password": "other"}, "registration_rejected", "Wrong username or password"),
        (True, {"email": new_email()}, "client_taken", "clientId is in use"),
        (NOTHING, {"email": new_email()}, "client_taken", "clientId is in use"),
    ],
)
def test_a_refusal_has_the_words_that_clients_look_for_and_a_status_that_means_nothing_to_them(
    calls: Calls, database: Connection, new: object, differences: dict[str, str], error: str, substring: str
) -> None:
    """403 would make the client log in again, 404 is a broken URL."""
    phone = calls.registered()
    other = Phone(**{"email": phone.email, "password": phone.password, "client_id": phone.client_id, **differences})
    before = counts(database)
    answer = calls.register(other, new=new)
    assert answer.status not in (200, 403, 404)
    assert answer.error == error
    assert substring in answer.message
    assert counts(database) == before


def test_a_client_of_another_user_cannot_be_taken_over(calls: Calls, database: Connection) -> None:
    ann, bob = calls.registered(), calls.registered()
    thief = bob.another(client_id=ann.client_id)
    assert calls.register(thief, new=False).error == "client_taken"
    owner, client = user_of(database, ann.email), client_of(database, ann)
    assert owner is not None
    assert client is not None
    assert client["user_id"] == owner["id"]


@pytest.mark.parametrize("new", [True, False, None, NOTHING])
def test_the_same_registration_again_succeeds_and_changes_nothing(calls: Calls, database: Connection, new: Any) -> None:
    """As after a lost answer."""
    phone = calls.registered()
    before = counts(database), user_of(database, phone.email), client_of(database, phone)
    answers = [calls.register(phone, new=new).ok for _ in range(2)]
    assert answers[0] == answers[1]
    assert (counts(database), user_of(database, phone.email), client_of(database, phone)) == before


def test_a_second_device_gets_the_stored_name_and_language(calls: Calls) -> None:
    phone = Phone()
    calls.register(phone, name="Zoë ✓", language="it").ok  # noqa: B018 - asserts
    answer = calls.register(phone.another(), new=False, name=None, language=None).ok["user"]
    assert (answer["name"], answer["language"]) == ("Zoë ✓", "it")
    answer = calls.register(phone.another(), new=False, name="Another", language="fr").ok["user"]
    assert (answer["name"], answer["language"]) == ("Zoë ✓", "it")


def test_without_new_registration_the_user_is_made_or_joined_as_the_email_says(
    calls: Calls, database: Connection
) -> None:
    """The form that the README of sync_server_ts documents: four members."""
    ann = Phone()
    for phone in (ann, ann.another()):
        documented = {"clientDescription": NOTHING, "deleteRemoteData": NOTHING, "language": NOTHING}
        answer = calls.register(phone, new=NOTHING, **documented).ok["user"]
        assert answer["clientId"] == phone.client_id
        client = client_of(database, phone)
        assert client is not None
        assert client["details"] == ""


def test_the_password_is_in_no_answer_and_not_in_the_database(calls: Calls, database: Connection) -> None:
    phone = Phone(password=f"secret-{uuid.uuid4()}")
    answers = [calls.register(phone), calls.register(phone), calls.register(phone.another(), new=False)]
    answers += [
        calls.register(phone.another()),
        calls.register(Phone(client_id=phone.client_id, password=phone.password)),
    ]
    assert [answer.error for answer in answers] == ["ok", "ok", "ok", "email_taken", "client_taken"]
    assert not [answer for answer in answers if phone.password.encode() in answer.body]
    assert phone.password not in str(user_of(database, phone.email))


def counts(database: Connection) -> dict[str, Any] | None:
    """How many users, spaces and clients there are: after a refusal no more than before."""
    tables = ", ".join(f"(SELECT count(*) FROM sync.{table}) AS {table}" for table in ("users", "spaces", "clients"))
    return database.execute(f"SELECT {tables}").fetchone()


@pytest.mark.parametrize(
    "alter", [str.upper, str.title, "  {}\t".format, lambda text: unicodedata.normalize("NFD", text)]
)
def test_an_address_is_the_same_in_any_case_spacing_and_composition(calls: Calls, alter: Any) -> None:
    written = f"zoë.ångström.{new_email()}"
    phone = calls.registered(email=written)
    alike = Phone(email=alter(written), password=phone.password, client_id=phone.client_id)
    assert alike.email != written
    assert calls.register(alike.another()).error == "email_taken"
    assert calls.register(alike.another(), new=False).error == "ok"
    assert calls.login(alike).error == "ok"
    assert calls.unregister(alike, calls.login(phone).access).error == "ok"


@given(st.text(st.characters(codec="utf-8"), max_size=30))
@example("straße@example.com")
@example("İstanbul@example.com")
@example("ﬁ@example.com")
def test_the_key_of_an_address_is_the_same_for_all_its_forms(text: str) -> None:
    key = email_key(text)
    assert email_key(key) == key
    for form in ("NFC", "NFD"):
        assert email_key(unicodedata.normalize(form, text)) == key
    assert email_key(f" {text}\n") == key


@given(st.text("abcXYZ.-+@äöéÅΣσІяЖ", max_size=30))
def test_the_key_of_an_address_does_not_depend_on_its_case(text: str) -> None:
    assert email_key(text.upper()) == email_key(text.lower()) == email_key(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("straße", "strasse"), ("ﬁn", "fin"), ("pa\u017fs", "pass"), ("a", "á"), ("\u0131", "i"), ("a.b", "ab")],
)
def test_mailboxes_that_only_look_alike_are_two_accounts(calls: Calls, one: str, other: str) -> None:
    """Mail to one of them does not reach the other."""
    domain = new_email()
    calls.registered(email=f"{one}.{domain}")
    calls.registered(email=f"{other}.{domain}")
