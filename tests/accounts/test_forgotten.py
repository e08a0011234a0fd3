"""Demanding a PIN: mailed to the user, and to nobody's knowledge whether there is one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from accounts.calls import Calls, Phone
from accounts.outbox import Outbox
from conftest import Server
from users import Connection
from wire import new_email

MINUTE = 60_000


def pass_minutes(database: Connection, phone: Phone, minutes: float = 1.05) -> None:
    """Put back the time at which the user's PIN was made."""
    age = "UPDATE sync.pins p SET created = created - %s FROM sync.users u WHERE u.id = p.user_id AND u.email = %s"
    assert database.execute(age, (int(minutes * MINUTE), phone.email)).rowcount == 1


def test_the_pin_is_mailed_to_the_user_in_their_language(calls: Calls, outbox: Outbox) -> None:
    for language, word in (("en", "valid"), ("it", "valido"), (None, "valid"), ("xx", "valid"), ("it-CH", "valido")):
        phone = Phone()
        calls.register(phone, language=language, name="Zoë").ok  # noqa: B018 - asserts
        assert calls.forgotten(phone.email).ok["code"] == 200
        pin = outbox.pin(phone.email)
        assert len(pin) == 6
        (mail,) = outbox.mails(phone.email)
        text = mail.get_body(("plain",))
        assert text is not None
        assert f" {word} " in text.get_content()
        assert "Zoë" in text.get_content()
        assert "Test App" in text.get_content()


def test_the_mail_goes_to_the_address_of_the_account_however_the_demand_writes_it(calls: Calls, outbox: Outbox) -> None:
    """What the demand says is compared, never mailed to."""
    phone = calls.registered()
    calls.forgotten(f"  {phone.email.upper()} ").ok  # noqa: B018 - asserts
    assert outbox.pin(phone.email)


def test_known_and_unknown_addresses_get_the_same_answer(calls: Calls, outbox: Outbox, database: Connection) -> None:
    phone, inactive = calls.registered(), calls.registered()
    database.execute("UPDATE sync.users SET active = false WHERE email = %s", (inactive.email,))
    emails = [phone.email, phone.email, new_email(), inactive.email, "no address", "", "a:b@c"]
    answers = [calls.forgotten(email) for email in emails]
    assert len({(it.status, it.body, tuple(sorted(set(it.headers) - {"date"}))) for it in answers}) == 1
    assert answers[0].ok.keys() == {"code", "message"}
    later = calls.registered()
    calls.forgotten(later.email)
    outbox.pin(later.email)  # mails go out in the order in which they were demanded
    assert outbox.mails(inactive.email) == []
    assert mails_queued(database, inactive) == 0


def mails_queued(database: Connection, phone: Phone) -> int:
    query = "SELECT m.id FROM sync.mails m JOIN sync.users u ON u.id = m.user_id WHERE u.email = %s"
    return len(database.execute(query, (phone.email,)).fetchall())


def test_a_second_demand_within_a_minute_sends_no_second_mail_and_keeps_the_pin(
    calls: Calls, outbox: Outbox, database: Connection
) -> None:
    """It is the same call again, after a lost answer."""
    phone, later = calls.registered(), calls.registered()
    calls.forgotten(phone.email)
    pin = outbox.pin(phone.email)
    for _ in range(2):
        calls.forgotten(phone.email)
    pass_minutes(database, phone, 0.9)
    calls.forgotten(phone.email)
    calls.forgotten(later.email)
    outbox.pin(later.email)
    assert outbox.pins(phone.email) == [pin]
    assert mails_queued(database, phone) == 0
    assert calls.change(phone.email, pin, "new").error == "ok"


def test_a_later_demand_voids_the_first_pin(calls: Calls, outbox: Outbox, database: Connection) -> None:
    phone = calls.registered()
    calls.forgotten(phone.email)
    first = outbox.pin(phone.email)
    second = first
    for number in range(2, 5):  # once in a million times two PINs are the same
        pass_minutes(database, phone)
        calls.forgotten(phone.email)
        second = outbox.pin(phone.email, number)
        if second != first:
            break
    assert calls.change(phone.email, first, "new").error == "pin_rejected"
    assert calls.change(phone.email, second, "new").error == "ok"


def test_a_demand_makes_a_new_pin_at_once_when_the_old_one_is_of_no_more_use(calls: Calls, outbox: Outbox) -> None:
    """Used up, or tried too often."""
    phone = calls.registered()
    calls.forgotten(phone.email)
    pin = outbox.pin(phone.email)
    assert calls.change(phone.email, pin, "new").error == "ok"
    calls.forgotten(phone.email)
    pin = outbox.pin(phone.email, 2)
    for wrong in range(5):
        assert calls.change(phone.email, f"{(int(pin) + 1 + wrong) % 1_000_000:06}", "new").error == "pin_rejected"
    calls.forgotten(phone.email)
    assert calls.change(phone.email, outbox.pin(phone.email, 3), "new").error == "ok"


def test_neither_address_nor_pin_is_in_the_log(calls: Calls, outbox: Outbox, server: Server) -> None:
    phone = calls.registered(password=f"password-of-{new_email()}")
    calls.forgotten(phone.email)
    pin = outbox.pin(phone.email)
    calls.change(phone.email, "000000" if pin != "000000" else "1", "n")
    new = Phone(phone.email, f"new-{new_email()}", phone.client_id)
    login = calls.change(phone.email, pin, new.password), calls.login(phone), calls.login(new)
    assert [answer.status for answer in login] == [200, 403, 200]
    assert server.process is not None
    time.sleep(0.1)  # for lines that are about to be written
    log = server.process.log
    for secret in (phone.email, pin, phone.password, new.password, login[2].access, login[2].refresh):
        assert secret not in log


def test_the_database_does_not_tell_the_pin(calls: Calls, outbox: Outbox, database: Connection) -> None:
    """A copy of it gives nothing to try PINs on: two servers with different keys make different PINs of one nonce."""
    phone = calls.registered()
    calls.forgotten(phone.email)
    pin = outbox.pin(phone.email)
    query = "SELECT p.* FROM sync.pins p JOIN sync.users u ON u.id = p.user_id WHERE u.email = %s"
    row = database.execute(query, (phone.email,)).fetchone()
    assert row is not None
    assert row.keys() == {"user_id", "nonce", "created", "attempts", "used"} | (row.keys() & {"last_tried"})
    assert pin not in "".join(str(value) for name, value in row.items() if name != "created")


BODIES: list[Any] = [{}, {"email": None}, {"email": 1}, {"email": "a\0b@example.com"}, {"email": "x" * 256}, [], None]


@pytest.mark.parametrize("body", BODIES)
def test_a_demand_without_an_address_is_refused(calls: Calls, body: Any) -> None:
    assert calls.post(f"/password/{calls.realm}/forgotten", body).error == "invalid_body"
