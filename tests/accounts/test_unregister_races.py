"""Leaving while something else of the user's is under way."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from accounts.calls import Calls, Phone, Reply, at_once
from accounts.test_unregister import ids_of, traces
from users import Connection, change


def pushes(calls: Calls, phone: Phone, word: str) -> Callable[[], Reply]:
    """A push of many rows, its pull done."""
    token = calls.login(phone).access
    body = {"clientId": phone.client_id, "lastSync": 0, "changes": []}
    calls.post(f"/pull/{calls.realm}", body, f"Bearer {token}").ok  # noqa: B018 - asserts
    changes = [change("I", f"{word}-{number}", 1, {"title": word}) for number in range(300)]
    body = {"clientId": phone.client_id, "isPartial": 0, "changes": changes}
    return partial(calls.post, f"/push/{calls.realm}", body, f"Bearer {token}")


def test_pushes_under_way_leave_nothing_behind_a_user_who_leaves(calls: Calls, database: Connection) -> None:
    for _ in range(8):
        phone, word = calls.registered(), f"word-{uuid.uuid4()}"
        others = [calls.joined(phone) for _ in range(3)]
        words = [*ids_of(database, phone), word, *(it.client_id for it in (phone, *others))]
        leave = partial(calls.unregister, phone, calls.login(phone).access, data=True)
        *pushed, left = at_once(*[pushes(calls, other, word) for other in others], leave)
        assert left.error == "ok"
        assert {answer.error for answer in pushed} <= {"ok", "token_rejected"}
        assert traces(database, *words) == []


def test_a_push_under_way_ends_or_finds_its_client_gone(calls: Calls, database: Connection) -> None:
    for _ in range(8):
        phone, word = calls.registered(), f"word-{uuid.uuid4()}"
        push = pushes(calls, phone, word)
        pushed, left = at_once(push, partial(calls.unregister, phone, calls.login(phone).access))
        assert left.error == "ok"
        stored = database.execute("SELECT 1 FROM sync.rows WHERE rowguid LIKE %s", (f"{word}%",)).fetchall()
        assert (pushed.error, len(stored)) in {("ok", 300), ("token_rejected", 0)}
        assert "clients" not in {table for table, _ in traces(database, phone.client_id)}


def test_everything_at_once_leaves_nothing_and_breaks_nothing(calls: Calls, database: Connection) -> None:
    """Demands for PINs, new devices, logins, uploads, refreshes and a second leaving."""
    for _ in range(8):
        phone = calls.registered()
        other, newcomer = calls.joined(phone), phone.another()
        tokens = calls.login(other)
        words = [*ids_of(database, phone), phone.email, *(it.client_id for it in (phone, other, newcomer))]
        part = {"chunkIndex": 0, "chunks": 2, "data": "x", "syncId": "1", "multiple": 1}
        answers = at_once(
            partial(calls.unregister, phone, calls.login(phone).access, data=True),
            partial(calls.unregister, other, tokens.access, data=True),
            partial(calls.forgotten, phone.email),
            partial(calls.register, newcomer, new=False),
            partial(calls.login, other),
            partial(calls.refresh, tokens.refresh),
            partial(calls.post, f"/push/{calls.realm}", part, f"Bearer {tokens.access}"),
            partial(calls.change, phone.email, "000000", "another"),
        )
        assert {answer.status for answer in answers} <= {200, 206, 403, 409}, answers
        assert 200 in {answer.status for answer in answers[:2]}
        assert traces(database, *words) == []
