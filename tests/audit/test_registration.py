"""Who may make an account: everybody, those who are invited, or nobody. Whoever has one adds devices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from accounts.calls import NOTHING, Calls, Phone
from accounts.outbox import Outbox
from audit.conftest import Database
from conftest import Process

REFUSALS = {"invite": ("invitation_only", "by invitation"), "closed": ("registration_closed", "no new accounts")}
MATCHED = ("The email is already registered", "email is not registered", "Wrong username or password")
"""Parts of messages that sync_client takes for something else."""


@pytest.fixture(params=sorted(REFUSALS))
def calls(audited: Process, request: pytest.FixtureRequest) -> Iterator[Calls]:
    calls = Calls(audited.url, request.param)
    yield calls
    calls.close()


@pytest.fixture
def database(calls: Calls, databases: dict[str, Database]) -> Database:
    return databases[calls.realm]


@pytest.fixture
def invited(database: Database) -> Phone:
    """Of somebody for whom an admin has made an account, which has no password yet."""
    phone, user = Phone(), uuid4()
    database.connection.execute("INSERT INTO sync.spaces (id) VALUES (%s)", [user])
    database.connection.execute(
        "INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash) VALUES (%s, %s, %s, %s, 'Ann', '')",
        [user, user, phone.email, phone.email],
    )
    return phone


@pytest.mark.parametrize("new", [True, None, NOTHING])
def test_a_stranger_is_told_why(calls: Calls, database: Database, new: object) -> None:
    phone = Phone()
    refused = calls.register(phone, new=new)
    error, reason = REFUSALS[calls.realm]
    assert (refused.status, refused.error) == (422, error)
    assert reason in refused.message
    assert not any(part in refused.message for part in MATCHED)
    assert not database.select("SELECT 1 FROM sync.users WHERE email = %s", phone.email)


def test_who_is_not_known_is_told_so(calls: Calls) -> None:
    assert calls.register(Phone(), new=False).error == "email_unknown"


def test_an_invited_user_sets_a_password_by_mail_and_adds_devices(
    calls: Calls, invited: Phone, audited: Process
) -> None:
    assert calls.register(invited).error == "email_taken"
    assert calls.register(invited, new=False).error == "registration_rejected"
    assert calls.register(invited.another(password=""), new=False).error == "registration_rejected"
    assert calls.login(invited).error == "login_rejected"
    calls.forgotten(invited.email).ok  # noqa: B018 - asserts
    pin = Outbox(audited.directory / "data" / "outbox").pin(invited.email)
    calls.change(invited.email, pin, invited.password).ok  # noqa: B018 - asserts
    for phone in (invited, invited.another()):
        calls.register(phone, new=False).ok  # noqa: B018 - asserts
        calls.login(phone).ok  # noqa: B018 - asserts
    calls.register(invited).ok  # noqa: B018 - the same registration again, as after a lost answer


def test_nothing_of_it_depends_on_how_the_body_is_written(calls: Calls) -> None:
    """A malformed registration is refused as everywhere."""
    answer = calls.post(f"/register/{calls.realm}", b'{"email": 1}')
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "invalid_body"
