"""Refreshing tokens: rotation, the grace for a lost answer, and the end of a session whose token was copied."""

from __future__ import annotations

from functools import partial
from typing import Any

import jwt
import pytest

from accounts.calls import Calls, Phone, at_once
from users import Connection

FIVE_MINUTES = 5 * 60_000


@pytest.fixture
def phone(calls: Calls) -> Phone:
    return calls.registered()


@pytest.fixture
def first(calls: Calls, phone: Phone) -> str:
    """The refresh token of a login."""
    return calls.login(phone).refresh


def pass_minutes(database: Connection, phone: Phone, milliseconds: int = FIVE_MINUTES) -> None:
    age = "UPDATE sync.clients SET refresh_issued = refresh_issued - %s WHERE id = %s"
    database.execute(age, (milliseconds, phone.client_id))


def id_of(token: str) -> str:
    return str(claims_of(token)["jti"])


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def versions(database: Connection) -> set[tuple[str, str]]:
    """Which version of which row each table of accounts holds: a write, even of the same values, changes it."""
    tables = ("users", "clients", "spaces", "attempts", "pins")
    return {
        (str(row["ctid"]), str(row["xmin"]))
        for table in tables
        for row in database.execute(f"SELECT ctid, xmin FROM sync.{table}")
    }


def test_nothing_is_written_until_the_token_is_due(
    calls: Calls, database: Connection, phone: Phone, first: str
) -> None:
    """The client refreshes before every call."""
    before = versions(database)
    answers = [calls.refresh(first) for _ in range(20)]
    assert {id_of(answer.refresh) for answer in answers} == {id_of(first)}
    assert versions(database) == before
    pass_minutes(database, phone, FIVE_MINUTES - 30_000)
    before = versions(database)
    assert id_of(calls.refresh(first).refresh) == id_of(first)
    assert versions(database) == before


def test_a_token_is_replaced_after_five_minutes(calls: Calls, database: Connection, phone: Phone, first: str) -> None:
    pass_minutes(database, phone)
    second = calls.refresh(first).refresh
    assert id_of(second) != id_of(first)
    assert id_of(calls.refresh(second).refresh) == id_of(second)
    pass_minutes(database, phone)
    assert id_of(calls.refresh(second).refresh) not in (id_of(first), id_of(second))


def test_after_a_lost_answer_the_previous_token_goes_on(
    calls: Calls, database: Connection, phone: Phone, first: str
) -> None:
    """However often, and however late, until the new one has been used."""
    pass_minutes(database, phone)
    lost = calls.refresh(first).refresh
    for _ in range(3):
        pass_minutes(database, phone)
        again = calls.refresh(first)
        assert id_of(again.refresh) == id_of(lost)
        assert calls.cancel(phone, again.access).error == "ok"
    assert calls.refresh(lost).error == "ok"


def test_a_token_used_after_its_successor_ends_the_session(
    calls: Calls, database: Connection, phone: Phone, first: str
) -> None:
    """Somebody has a copy of it, and nobody knows who: both must log in again."""
    pass_minutes(database, phone)
    second = calls.refresh(first).refresh
    current = calls.refresh(second)
    assert calls.cancel(phone, current.access).error == "ok"
    assert calls.refresh(first).error == "token_rejected"
    for token in (first, second, current.refresh):
        assert calls.refresh(token).error == "token_rejected"
    assert calls.cancel(phone, current.access).error == "token_rejected"
    renewed = calls.login(phone)
    assert calls.refresh(renewed.refresh).error == "ok"
    assert calls.cancel(phone, renewed.access).error == "ok"
    assert calls.cancel(phone, current.access).error == "token_rejected"


def test_tokens_of_an_ended_session_do_not_end_the_next_one(
    calls: Calls, database: Connection, phone: Phone, first: str
) -> None:
    pass_minutes(database, phone)
    calls.refresh(calls.refresh(first).refresh)
    assert calls.refresh(first).error == "token_rejected"
    renewed = calls.login(phone)
    for _ in range(2):
        assert calls.refresh(first).error == "token_rejected"
    assert calls.refresh(renewed.refresh).error == "ok"


def test_a_session_that_ends_is_only_this_clients(calls: Calls, database: Connection, phone: Phone, first: str) -> None:
    other = calls.joined(phone)
    others = calls.login(other)
    pass_minutes(database, phone)
    calls.refresh(calls.refresh(first).refresh)
    assert calls.refresh(first).error == "token_rejected"
    assert calls.refresh(others.refresh).error == "ok"
    assert calls.cancel(other, others.access).error == "ok"


@pytest.mark.parametrize("due", [False, True])
def test_refreshes_at_the_same_time_all_succeed_and_lead_on(
    calls: Calls, database: Connection, phone: Phone, first: str, due: bool
) -> None:
    for _ in range(5):
        if due:
            pass_minutes(database, phone)
        answers = at_once(*[partial(calls.refresh, first)] * 6)
        assert {answer.error for answer in answers} == {"ok"}
        assert len({id_of(answer.refresh) for answer in answers} - {id_of(first)}) == int(due)
        # whichever of the answers is the one that arrived
        oldest = next((it.refresh for it in answers if id_of(it.refresh) == id_of(first)), answers[0].refresh)
        assert calls.refresh(oldest).error == "ok"
        first = calls.refresh(oldest).refresh


def test_a_login_leaves_the_token_before_valid_until_its_own_is_used(calls: Calls, phone: Phone, first: str) -> None:
    """The login's answer may have got lost, and the device then goes on with what it has."""
    second = calls.login(phone).refresh
    assert id_of(calls.refresh(first).refresh) == id_of(second)
    assert calls.refresh(second).error == "ok"
    assert calls.refresh(first).error == "token_rejected"
    assert calls.refresh(second).error == "token_rejected"


def test_a_device_whose_logins_answers_were_lost_logs_in_once_more(calls: Calls, phone: Phone, first: str) -> None:
    calls.login(phone)
    calls.login(phone)
    assert calls.refresh(first).error == "token_rejected"
    renewed = calls.login(phone)
    assert calls.refresh(renewed.refresh).error == "ok"
    assert calls.cancel(phone, renewed.access).error == "ok"


def test_the_number_of_the_clients_sync_travels_in_the_token(calls: Calls, phone: Phone) -> None:
    login = calls.login(phone)
    first = claims_of(login.access)["n"]
    for number in range(1, 3):
        calls.sync(phone, login.access)
        assert claims_of(calls.refresh(login.refresh).access)["n"] == first + number
    assert claims_of(calls.login(phone).access)["n"] == first + 2
    assert claims_of(calls.login(calls.joined(phone)).access)["n"] not in range(first, first + 3)


BODIES: list[Any] = [{}, {"refreshToken": None}, {"refreshToken": 1}, [], None]


@pytest.mark.parametrize("body", BODIES)
def test_a_refresh_without_a_token_is_refused(calls: Calls, body: Any) -> None:
    assert calls.post(f"/login/{calls.realm}/refreshToken", body).error == "invalid_body"
