"""Logins at the same time."""

from __future__ import annotations

from functools import partial

from accounts.calls import Calls, at_once
from accounts.test_login import adopted, hash_of, set_hash
from users import Connection


def test_devices_that_log_in_at_once_replace_an_adopted_hash_without_refusing_one_another(
    calls: Calls, database: Connection
) -> None:
    """On the first morning after the move from sync_server_ts."""
    for _ in range(5):
        phone = calls.registered()
        phones = [phone, *(calls.joined(phone) for _ in range(5))]
        set_hash(database, phone, adopted(phone.password, "salt"))
        answers = at_once(*[partial(calls.login, phone) for phone in phones])
        assert [answer.error for answer in answers] == ["ok"] * len(phones)
        assert hash_of(database, phone).startswith("$2b$")


def test_a_device_may_log_in_many_times_at_once(calls: Calls) -> None:
    """Its last login counts, and the one before it."""
    phone = calls.registered()
    answers = at_once(*[partial(calls.login, phone)] * 8)
    assert [answer.error for answer in answers] == ["ok"] * 8
    assert [calls.cancel(phone, answer.access).error for answer in answers] == ["ok"] * 8


def test_a_password_that_changes_during_a_login_makes_its_tokens_void(calls: Calls, database: Connection) -> None:
    """Either the login is refused or what it got is revoked with the rest."""
    phone = calls.registered()
    epoch = "UPDATE sync.users SET password_hash = %s, token_epoch = token_epoch + 1 WHERE email = %s"
    other = hash_of(database, calls.registered(password="another"))

    def change() -> None:
        database.execute(epoch, (other, phone.email))

    answers = at_once(*[lambda: calls.login(phone)] * 6, change)
    for answer in answers[:-1]:
        assert answer is not None
        assert answer.status == 403 or calls.cancel(phone, answer.access).status == 403
