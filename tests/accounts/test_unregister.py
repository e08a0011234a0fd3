"""Leaving: a client alone, or the user with everything."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from accounts.calls import Calls, Phone
from accounts.outbox import Outbox
from users import Connection, change
from wire import new_email


@pytest.fixture
def phone(calls: Calls) -> Phone:
    return calls.registered()


def ids_of(database: Connection, phone: Phone) -> list[str]:
    """The user's id and space; both must be nowhere when the user has gone."""
    query = "SELECT id, space_id FROM sync.users WHERE email = %s"
    row = database.execute(query, (phone.email,)).fetchone()
    assert row is not None
    return [str(row["id"]), str(row["space_id"])]


def traces(database: Connection, *words: str) -> list[tuple[str, str]]:
    """Every table of the schema, and the word, where a row holds one of `words` in any column."""
    tables = database.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'sync'::regnamespace"
    )
    names = [row["relname"] for row in tables]
    assert {"users", "clients", "rows", "history", "overridden", "mails", "pins", "uploads", "attempts"} <= set(names)
    # a row as text shows bytes as hexadecimal digits
    holds = "strpos(lower(t::text), lower(%(word)s)) > 0"
    holds += " OR strpos(t::text, encode(convert_to(%(word)s, 'UTF8'), 'hex')) > 0"
    return [
        (name, word)
        for name in names
        for word in words
        if database.execute(f"SELECT 1 FROM sync.{name} t WHERE {holds}", {"word": word}).fetchone()
    ]


def test_a_client_leaves_and_the_others_go_on(calls: Calls, database: Connection, phone: Phone) -> None:
    other = calls.joined(phone)
    gone, stays = calls.login(phone), calls.login(other)
    calls.sync(phone, gone.access, change("I", "1", 1, {"title": "mine"}))
    assert calls.unregister(phone, gone.access).ok["code"] == 200
    assert calls.cancel(phone, gone.access).error == "token_rejected"
    assert calls.refresh(gone.refresh).error == "token_rejected"
    assert calls.login(phone).error == "login_rejected"
    assert traces(database, phone.client_id) == [("rows", phone.client_id), ("history", phone.client_id)]
    assert calls.cancel(other, stays.access).error == "ok"
    body = {"clientId": other.client_id, "lastSync": 0, "changes": []}
    pulled = calls.post(f"/pull/{calls.realm}", body, f"Bearer {stays.access}").ok
    assert [row["rowData"] for row in pulled["data"]] == [{"title": "mine"}]
    assert calls.refresh(stays.refresh).error == "ok"


def test_a_client_that_has_left_may_come_back_but_its_old_tokens_may_not(calls: Calls, phone: Phone) -> None:
    calls.joined(phone)
    old = calls.login(phone)
    calls.unregister(phone, old.access).ok  # noqa: B018 - asserts
    calls.register(phone, new=False).ok  # noqa: B018 - asserts
    assert calls.cancel(phone, old.access).error == "token_rejected"
    assert calls.refresh(old.refresh).error == "token_rejected"
    new = calls.login(phone)
    assert calls.cancel(phone, old.access).error == "token_rejected"
    assert calls.cancel(phone, new.access).error == "ok"


def leave_traces_everywhere(calls: Calls, outbox: Outbox, phone: Phone, other: Phone, word: str) -> None:
    """Rows, their history, a conflict, an upload begun, a PIN, a mail, wrong passwords."""
    one, two = calls.login(phone).access, calls.login(other).access
    data = {"title": word}
    for device, token in ((phone, one), (other, two)):
        body: dict[str, Any] = {"clientId": device.client_id, "lastSync": 0, "changes": []}
        calls.post(f"/pull/{calls.realm}", body, f"Bearer {token}").ok  # noqa: B018 - asserts
    for device, token, date in ((phone, one, 2), (other, two, 1)):
        body = {"clientId": device.client_id, "isPartial": 0, "changes": [change("I", word, date, {**data, "d": date})]}
        calls.post(f"/push/{calls.realm}", body, f"Bearer {token}").ok  # noqa: B018 - asserts
    part = {"chunkIndex": 0, "chunks": 2, "data": word, "syncId": "1", "multiple": 1}
    assert calls.post(f"/push/{calls.realm}", part, f"Bearer {one}").status == 206
    calls.forgotten(phone.email).ok  # noqa: B018 - asserts
    outbox.pin(phone.email)
    assert calls.login(Phone(phone.email, "wrong", phone.client_id)).status == 403


def queue_mail(database: Connection, phone: Phone, word: str) -> None:
    """One that will not go out soon."""
    columns = "id, user_id, template, details, created, expires, next_try"
    mail = "SELECT gen_random_uuid(), id, 'pin', %s, 0, 9e15::bigint, 9e15::bigint FROM sync.users WHERE email = %s"
    database.execute(f"INSERT INTO sync.mails ({columns}) {mail}", (f'"{word}"', phone.email))


def test_a_user_who_leaves_with_all_data_leaves_nothing(
    calls: Calls, database: Connection, outbox: Outbox, phone: Phone
) -> None:
    other, word = calls.joined(phone), f"word-{uuid.uuid4()}"
    leave_traces_everywhere(calls, outbox, phone, other, word)
    words = [*ids_of(database, phone), phone.email, phone.client_id, other.client_id, word]
    queue_mail(database, phone, word)
    # these two are written every few seconds
    before = {table for table, _ in traces(database, *words)} - {"device_status", "activity"}
    expected = {
        "users",
        "spaces",
        "clients",
        "syncs",
        "rows",
        "history",
        "overridden",
        "pins",
        "mails",
        "uploads",
        "upload_parts",
    }
    assert before == expected
    assert calls.unregister(phone, calls.login(phone).access, data=True).ok["code"] == 200
    assert traces(database, *words) == []


def test_after_that_every_token_is_void_and_the_address_free(calls: Calls, phone: Phone) -> None:
    other = calls.joined(phone)
    tokens = {device.client_id: calls.login(device) for device in (phone, other)}
    calls.unregister(phone, tokens[phone.client_id].access, data=True).ok  # noqa: B018 - asserts
    assert calls.register(other, new=False).error == "email_unknown"
    for _ in range(2):
        for device in (phone, other):
            assert calls.cancel(device, tokens[device.client_id].access).error == "token_rejected"
            assert calls.refresh(tokens[device.client_id].refresh).error == "token_rejected"
        calls.register(phone).ok  # noqa: B018 - asserts
        calls.register(other, new=False).ok  # noqa: B018 - asserts


def test_nothing_of_others_goes_along(calls: Calls, database: Connection, phone: Phone) -> None:
    stranger = calls.registered()
    theirs = calls.login(stranger)
    calls.sync(stranger, theirs.access, change("I", "1", 1, {"title": "theirs"}))
    mine = calls.login(phone)
    calls.sync(phone, mine.access, change("I", "1", 1, {"title": "mine"}))
    before = traces(database, *ids_of(database, stranger), stranger.email, stranger.client_id)
    calls.unregister(phone, mine.access, data=True).ok  # noqa: B018 - asserts
    assert traces(database, *ids_of(database, stranger), stranger.email, stranger.client_id) == before
    assert calls.cancel(stranger, theirs.access).error == "ok"


def test_a_space_that_somebody_else_uses_too_stays(calls: Calls, database: Connection, phone: Phone) -> None:
    friend, token = calls.registered(), calls.login(phone).access
    calls.sync(phone, token, change("I", "1", 1, {"title": "ours"}))
    _, space = ids_of(database, phone)
    database.execute("UPDATE sync.users SET space_id = %s WHERE email = %s", (space, friend.email))
    calls.unregister(phone, token, data=True).ok  # noqa: B018 - asserts
    body = {"clientId": friend.client_id, "lastSync": 0, "changes": []}
    pulled = calls.post(f"/pull/{calls.realm}", body, f"Bearer {calls.login(friend).access}").ok
    assert [row["rowData"] for row in pulled["data"]] == [{"title": "ours"}]
    assert traces(database, phone.email) == []


@pytest.mark.parametrize("data", [False, True])
def test_leaving_takes_the_password_the_address_and_the_client(calls: Calls, phone: Phone, data: bool) -> None:
    other, stranger = calls.joined(phone), calls.registered()
    token = calls.login(phone).access
    for wrong in (
        Phone(phone.email, "wrong", phone.client_id),
        Phone(phone.email, "", phone.client_id),
        Phone(new_email(), phone.password, phone.client_id),
        Phone(stranger.email, stranger.password, phone.client_id),
    ):
        assert calls.unregister(wrong, token, data=data).error == "password_rejected"
    for client_id in (other.client_id, stranger.client_id, str(uuid.uuid4())):
        assert calls.unregister(phone.another(client_id=client_id), token, data=data).error == "client_mismatch"
    assert calls.unregister(phone.another(client_id="x"), token, data=data).error == "invalid_body"
    for device in (phone, other, stranger):
        assert calls.login(device).error == "ok"


@pytest.mark.parametrize(
    "members",
    [
        {"email": None},
        {"email": "a\0b@example.com"},
        {"password": None},
        {"clientId": None},
        {"deleteRemoteData": "true"},
        {"deleteRemoteData": 1},
    ],
)
def test_odd_members_are_refused(calls: Calls, phone: Phone, members: dict[str, Any]) -> None:
    body = {"email": phone.email, "password": phone.password, "clientId": phone.client_id, **members}
    answer = calls.post(f"/unregister/{calls.realm}", body, f"Bearer {calls.login(phone).access}")
    assert answer.error in ("invalid_body", "password_rejected")
    assert calls.login(phone).error == "ok"


@pytest.mark.parametrize("members", [{}, {"deleteRemoteData": None}])
def test_without_a_word_about_the_data_it_stays(calls: Calls, phone: Phone, members: dict[str, Any]) -> None:
    calls.joined(phone)
    body = {"email": phone.email, "password": phone.password, "clientId": phone.client_id, **members}
    calls.post(f"/unregister/{calls.realm}", body, f"Bearer {calls.login(phone).access}").ok  # noqa: B018 - asserts
    assert calls.register(phone).error == "email_taken"
