"""Setting a new password with a PIN."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest

from accounts.calls import NOTHING, Calls, Phone, at_once
from accounts.outbox import Outbox
from accounts.test_forgotten import pass_minutes
from sync_server.accounts import pins
from sync_server.keys import Keys
from users import Connection
from wire import new_email


@pytest.fixture
def phone(calls: Calls) -> Phone:
    return calls.registered()


@pytest.fixture
def pin(calls: Calls, outbox: Outbox, phone: Phone) -> str:
    """The PIN in the user's mail."""
    calls.forgotten(phone.email).ok  # noqa: B018 - asserts
    return outbox.pin(phone.email)


def wrong(pin: str, number: int = 1) -> str:
    return f"{(int(pin) + number) % 1_000_000:06}"


def with_password(phone: Phone, password: str) -> Phone:
    return Phone(phone.email, password, phone.client_id)


def test_a_change_voids_every_token_at_once_and_the_devices_log_in_again(calls: Calls, phone: Phone, pin: str) -> None:
    other, stranger = calls.joined(phone), calls.registered()
    tokens = {device.client_id: calls.login(device) for device in (phone, other, stranger)}
    assert calls.change(phone.email, pin, "new: pass ✓").ok["code"] == 200
    for device in (phone, other):
        assert calls.cancel(device, tokens[device.client_id].access).error == "token_rejected"
        assert calls.refresh(tokens[device.client_id].refresh).error == "token_rejected"
        assert calls.login(device).error == "login_rejected"
        login = calls.login(with_password(device, "new: pass ✓"))
        assert calls.cancel(device, login.access).error == "ok"
        assert calls.cancel(device, calls.refresh(login.refresh).access).error == "ok"
        assert calls.refresh(tokens[device.client_id].refresh).error == "token_rejected"
        assert calls.refresh(login.refresh).error == "ok"
    assert calls.cancel(stranger, tokens[stranger.client_id].access).error == "ok"


WRITTEN: dict[str, Callable[[str], object]] = {
    "text": str,
    "number": int,
    "spaces around": "  {} \n".format,
    "spaces within": lambda pin: f"{pin[:3]} {pin[3:]}",
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_a_pin_may_be_written_in_several_ways(
    calls: Calls, phone: Phone, pin: str, write: Callable[[str], object]
) -> None:
    assert calls.change(phone.email, write(pin), "new").error == "ok"
    assert calls.login(with_password(phone, "new")).error == "ok"


@pytest.mark.parametrize("write", [str, int])
@pytest.mark.parametrize("zeros", ["0", "00", "000"])
def test_a_pin_that_begins_with_zeros_works_as_text_and_as_number(
    calls: Calls, database: Connection, keys: Keys, phone: Phone, zeros: str, write: Callable[[str], object]
) -> None:
    calls.forgotten(phone.email).ok  # noqa: B018 - asserts
    nonce = next(nonce for nonce in map(str, count()) if pins.pin(keys, nonce).startswith(zeros))
    set_nonce = "UPDATE sync.pins p SET nonce = %s FROM sync.users u WHERE u.id = p.user_id AND u.email = %s"
    database.execute(set_nonce, (nonce, phone.email))
    assert calls.change(phone.email, write(pins.pin(keys, nonce)), "new").error == "ok"


@pytest.mark.parametrize("name", ["password", "newPassword"])
def test_the_new_password_has_two_names(calls: Calls, phone: Phone, pin: str, name: str) -> None:
    body = {"email": phone.email, "pin": pin, name: "new"}
    assert calls.post(f"/password/{calls.realm}/change", body).error == "ok"
    assert calls.login(with_password(phone, "new")).error == "ok"


def test_the_same_change_again_succeeds_and_any_other_does_not(calls: Calls, phone: Phone, pin: str) -> None:
    """As after a lost answer. Tokens that were fetched in between stay."""
    assert calls.change(phone.email, pin, "new").error == "ok"
    login = calls.login(with_password(phone, "new"))
    assert calls.change(phone.email, pin, "new").error == "ok"
    assert calls.change(phone.email, pin, "another").error == "pin_rejected"
    assert calls.change(phone.email, wrong(pin), "new").error == "pin_rejected"
    assert calls.login(with_password(phone, "another")).error == "login_rejected"
    assert calls.cancel(phone, login.access).error == "ok"


def test_a_pin_that_was_used_does_not_bring_an_old_password_back(
    calls: Calls, outbox: Outbox, phone: Phone, pin: str
) -> None:
    assert calls.change(phone.email, pin, "second").error == "ok"
    calls.forgotten(phone.email)
    assert calls.change(phone.email, outbox.pin(phone.email, 2), "third").error == "ok"
    if outbox.pins(phone.email)[1] != pin:
        assert calls.change(phone.email, pin, "second").error == "pin_rejected"
    assert calls.login(with_password(phone, "third")).error == "ok"


def test_after_five_wrong_pins_the_right_one_is_void(calls: Calls, phone: Phone, pin: str) -> None:
    for number in range(1, 6):
        assert calls.change(phone.email, wrong(pin, number), "new").error == "pin_rejected"
    assert calls.change(phone.email, pin, "new").error == "pin_rejected"
    assert calls.login(phone).error == "ok"


def test_after_four_wrong_pins_the_right_one_works_also_when_its_answer_is_lost(
    calls: Calls, phone: Phone, pin: str
) -> None:
    for number in range(1, 5):
        assert calls.change(phone.email, wrong(pin, number), "new").error == "pin_rejected"
    for _ in range(3):
        assert calls.change(phone.email, pin, "new").error == "ok"


def test_a_typing_error_counts_once_though_the_client_sends_each_refused_call_twice(
    calls: Calls, phone: Phone, pin: str
) -> None:
    for number in range(1, 5):
        for _ in range(2):
            assert calls.change(phone.email, wrong(pin, number), "new").error == "pin_rejected"
    assert calls.change(phone.email, pin, "new").error == "ok"


def test_many_guesses_at_once_are_no_more_than_five(calls: Calls, database: Connection, phone: Phone, pin: str) -> None:
    """The right one comes last, or nearly."""
    guesses = [wrong(pin, number) for number in range(1, 24)]
    at_once(*[partial(calls.change, phone.email, guess, "stolen") for guess in guesses])
    query = "SELECT p.attempts FROM sync.pins p JOIN sync.users u ON u.id = p.user_id WHERE u.email = %s"
    row = database.execute(query, (phone.email,)).fetchone()
    assert row == {"attempts": 5}
    assert calls.change(phone.email, pin, "stolen").error == "pin_rejected"


def test_of_many_right_changes_at_once_one_password_wins_and_only_its_call_succeeds(
    calls: Calls, phone: Phone, pin: str
) -> None:
    passwords = [f"new {number}" for number in range(5)]
    answers = at_once(*[partial(calls.change, phone.email, pin, password) for password in passwords])
    assert Counter(answer.error for answer in answers) == {"ok": 1, "pin_rejected": 4}
    for password, answer in zip(passwords, answers, strict=True):
        assert (calls.login(with_password(phone, password)).status == 200) == (answer.status == 200)


@pytest.mark.parametrize(("minutes", "error"), [(14.9, "ok"), (15.01, "pin_rejected")])
def test_a_pin_is_good_for_fifteen_minutes(
    calls: Calls, database: Connection, phone: Phone, pin: str, minutes: float, error: str
) -> None:
    pass_minutes(database, phone, minutes)
    assert calls.change(phone.email, pin, "new").error == error


def test_whatever_is_wrong_the_answer_is_the_same(
    calls: Calls, outbox: Outbox, database: Connection, phone: Phone, pin: str
) -> None:
    nobody, no_pin, inactive = new_email(), calls.registered().email, calls.registered()
    calls.forgotten(inactive.email)
    their_pin = outbox.pin(inactive.email)
    database.execute("UPDATE sync.users SET active = false WHERE email = %s", (inactive.email,))
    tried = [(nobody, pin), (no_pin, pin), (phone.email, wrong(pin)), (phone.email, ""), (inactive.email, their_pin)]
    tried += [("no address", "x"), (phone.email, pin[:5])]
    answers = [calls.change(email, given, "new") for email, given in tried]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert (answers[0].status, answers[0].error) == (403, "pin_rejected")
    assert calls.login(phone).error == "ok"


def test_of_an_account_without_a_pin_no_pin_is_right(calls: Calls) -> None:
    """Not even the one that the server's keys make of nothing."""
    phone = calls.registered()
    answers = at_once(*[partial(_try_all, calls, phone.email, first) for first in range(4)])
    assert set().union(*answers) == {"pin_rejected"}


def _try_all(calls: Calls, email: str, first: int) -> set[str]:
    return {calls.change(email, pin, "x").error for pin in range(first, 100, 4)}


@pytest.mark.parametrize(
    "members",
    [
        {"email": NOTHING},
        {"email": None},
        {"email": "a\0b@example.com"},
        {"pin": NOTHING},
        {"pin": None},
        {"pin": True},
        {"pin": 123456.5},
        {"pin": ["1"]},
        {"password": NOTHING},
        {"password": None},
        {"password": ""},
        {"password": "x" * 1025},
        {"password": 123456},
    ],
)
def test_what_is_no_change_is_refused(calls: Calls, phone: Phone, members: dict[str, Any]) -> None:
    body = {"email": phone.email, "pin": "123456", "password": "new", **members}
    body = {name: it for name, it in body.items() if it is not NOTHING}
    assert calls.post(f"/password/{calls.realm}/change", body).error == "invalid_body"


def test_a_refusal_for_the_form_costs_no_try(calls: Calls, phone: Phone, pin: str) -> None:
    body = {"email": phone.email, "pin": pin, "password": ""}
    for _ in range(6):
        assert calls.post(f"/password/{calls.realm}/change", body).error == "invalid_body"
    assert calls.change(phone.email, pin, "new").error == "ok"


@pytest.mark.parametrize("odd", [[-1, 10**6, 10**30], ["0x10", "½", "+1e5"], ["a\0b", "🔑", "9" * 100_000, ""]])
def test_a_pin_that_cannot_be_one_is_wrong(calls: Calls, phone: Phone, pin: str, odd: list[object]) -> None:
    for given in odd:
        assert calls.change(phone.email, given, "new").error == "pin_rejected"
    assert calls.change(phone.email, pin, "new").error == "ok"
