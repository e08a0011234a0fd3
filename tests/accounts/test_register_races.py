"""Registrations at the same time: one wins, the others get the answer that they would have got a moment later."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import partial
from typing import LiteralString

from accounts.calls import Calls, Phone, at_once
from accounts.holding import overtake
from conftest import Server
from users import Connection

THREADS = 12


def orphans(database: Connection) -> int:
    """Spaces that no user has: what a registration that lost would leave behind."""
    query = "SELECT 1 FROM sync.spaces s WHERE NOT EXISTS (SELECT 1 FROM sync.users u WHERE u.space_id = s.id)"
    return len(database.execute(query).fetchall())


def clients_of(database: Connection, email: str) -> set[str]:
    query = "SELECT c.id FROM sync.clients c JOIN sync.users u ON u.id = c.user_id WHERE u.email = %s"
    return {str(row["id"]) for row in database.execute(query, (email,))}


def users_with(database: Connection, emails: list[str]) -> int:
    return len(database.execute("SELECT 1 FROM sync.users WHERE email = ANY(%s)", (emails,)).fetchall())


def test_the_same_registration_many_times_at_once_succeeds_each_time(calls: Calls, database: Connection) -> None:
    phone = Phone()
    answers = at_once(*[partial(calls.register, phone)] * THREADS)
    assert {answer.error for answer in answers} == {"ok"}
    assert clients_of(database, phone.email) == {phone.client_id}
    assert users_with(database, [phone.email]) == 1
    assert orphans(database) == 0


def test_of_new_registrations_of_one_email_by_many_clients_one_wins(calls: Calls, database: Connection) -> None:
    phones = [Phone(email="") for _ in range(THREADS)]
    email = Phone().email
    for phone in phones:
        phone.email = email
    answers = at_once(*[partial(calls.register, phone) for phone in phones])
    assert Counter(answer.error for answer in answers) == {"ok": 1, "email_taken": THREADS - 1}
    winner = next(phone for phone, answer in zip(phones, answers, strict=True) if answer.status == 200)
    assert clients_of(database, email) == {winner.client_id}
    assert orphans(database) == 0


def test_the_password_of_the_one_that_won_is_the_accounts(calls: Calls, database: Connection) -> None:
    email, client_id = Phone().email, str(uuid.uuid4())
    phones = [Phone(email, f"password {number}", client_id) for number in range(THREADS)]
    answers = at_once(*[partial(calls.register, phone) for phone in phones])
    assert Counter(answer.error for answer in answers) == {"ok": 1, "email_taken": THREADS - 1}
    for phone, answer in zip(phones, answers, strict=True):
        assert (calls.login(phone).status == 200) == (answer.status == 200)
    assert orphans(database) == 0


def test_registrations_of_the_readmes_form_at_once_make_one_user_with_all_clients(
    calls: Calls, database: Connection
) -> None:
    first = Phone()
    phones = [first, *(first.another() for _ in range(THREADS - 1))]
    answers = at_once(*[partial(calls.register, phone, new=None) for phone in phones])
    assert {answer.error for answer in answers} == {"ok"}
    assert clients_of(database, first.email) == {phone.client_id for phone in phones}
    assert users_with(database, [first.email]) == 1
    assert orphans(database) == 0


def test_of_registrations_of_one_client_id_for_many_emails_one_wins(calls: Calls, database: Connection) -> None:
    client_id = str(uuid.uuid4())
    phones = [Phone(client_id=client_id) for _ in range(THREADS)]
    answers = at_once(*[partial(calls.register, phone) for phone in phones])
    assert Counter(answer.error for answer in answers) == {"ok": 1, "client_taken": THREADS - 1}
    assert users_with(database, [phone.email for phone in phones]) == 1
    assert orphans(database) == 0


def test_of_two_users_devices_with_one_client_id_one_wins(calls: Calls, database: Connection) -> None:
    client_id = str(uuid.uuid4())
    phones = [calls.registered().another(client_id=client_id) for _ in range(4)]
    answers = at_once(*[partial(calls.register, phone, new=False) for phone in phones])
    assert Counter(answer.error for answer in answers) == {"ok": 1, "client_taken": 3}
    assert [client_id in clients_of(database, phone.email) for phone in phones].count(True) == 1


def test_registering_while_the_user_leaves_finds_the_user_gone(calls: Calls, server: Server) -> None:
    """The user goes at the worst moment: the second device's registration has just seen it."""
    phone = calls.registered()
    leave: LiteralString = f"DELETE FROM sync.users WHERE email = '{phone.email}'"
    answer = overtake(server.dsn(server.realm), leave, lambda: calls.register(phone.another(), new=False))
    assert answer.error == "email_unknown"
