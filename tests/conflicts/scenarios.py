"""Every call that writes, each made ready so that it is the next thing that a device does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from accounts.calls import Calls, Phone, Reply
from accounts.outbox import Outbox
from conflicts.injector import Injector
from conflicts.looking import masked
from users import Connection

Outcome = tuple[int, Any]
MANY = 1100
"""Rows: more than a page of a pull has."""


@dataclass
class World:
    """A server whose database is behind an injector."""

    injector: Injector
    database: Connection
    outbox: Outbox
    new_calls: Callable[[], Calls]
    log: Callable[[], str]
    url: str


@dataclass
class Actor:
    """A phone, and its way to the server."""

    world: World
    calls: Calls
    phone: Phone = field(default_factory=Phone)
    access: str = ""
    refresh: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    pin: str = ""
    second: Phone = field(default_factory=Phone)

    def registered(self) -> Actor:
        self.calls.register(self.phone).ok  # noqa: B018 - asserts
        return self

    def logged_in(self) -> Actor:
        answer = self.calls.login(self.phone)
        self.access, self.refresh = answer.access, answer.refresh
        return self

    def another(self) -> Actor:
        return Actor(self.world, self.calls, self.calls.joined(self.phone)).logged_in()

    def post(self, call: str, **members: Any) -> Reply:
        body = {"clientId": self.phone.client_id, "lastSync": 0, "isPartial": 0, "changes": [], **members}
        return self.calls.post(f"/{call}/main", body, f"Bearer {self.access}")

    def synced(self, changes: list[dict[str, Any]]) -> Actor:
        self.pulled().post("push", changes=changes).ok  # noqa: B018 - asserts
        return self

    def pulled(self) -> Actor:
        self.post("pull").ok  # noqa: B018 - asserts
        return self


def change(guid: str, date: int, title: str = "x", operation: str = "U") -> dict[str, Any]:
    return {
        "operation": operation,
        "rowguid": guid,
        "tablename": "todos",
        "clientdate": date,
        "rowData": {"title": title},
    }


CONFLICTING = [change("a", 2), change("b", 1, "older"), change("new", 1), change("c", 9, operation="D")]


def _tablet_against_phone(actor: Actor) -> Actor:
    """A tablet in the middle of a sync during which the phone has pushed the same rows."""
    tablet = actor.registered().logged_in().another().pulled()
    actor.synced([change("a", 1), change("b", 5), change("c", 3)])
    return tablet


def _in_a_cancelled_sync(actor: Actor) -> Actor:
    tablet = _tablet_against_phone(actor)
    tablet.post("cancelSync").ok  # noqa: B018 - asserts
    return tablet


def _with_second(actor: Actor) -> Actor:
    actor.registered()
    actor.second = actor.phone.another()
    return actor


def _due_for_rotation(actor: Actor) -> Actor:
    actor.registered().logged_in()
    actor.world.database.execute("UPDATE sync.clients SET refresh_issued = 0 WHERE id = %s", [actor.phone.client_id])
    return actor


def _rotated(actor: Actor) -> Actor:
    _due_for_rotation(actor)
    actor.refresh = actor.calls.refresh(actor.refresh).refresh
    return actor


def _with_many_rows(actor: Actor) -> Actor:
    actor.registered().logged_in().synced([change(f"row{number:05}", 1) for number in range(MANY)])
    return actor.another()


def _with_pin(actor: Actor) -> Actor:
    actor.registered().logged_in().calls.forgotten(actor.phone.email).ok  # noqa: B018 - asserts
    actor.pin = actor.world.outbox.pin(actor.phone.email)
    return actor


def _pieces(actor: Actor) -> list[dict[str, Any]]:
    whole = {"clientId": actor.phone.client_id, "lastSync": 0, "isPartial": 0, "changes": CONFLICTING}
    text = json.dumps(whole)
    pieces = [text[:100], text[100:]]
    return [
        {"chunkIndex": index, "chunks": 2, "data": piece, "syncId": "s", "multiple": 1}
        for index, piece in enumerate(pieces)
    ]


def _first_piece_sent(actor: Actor) -> Actor:
    tablet = _tablet_against_phone(actor)
    first, _ = _pieces(tablet)
    assert tablet.calls.post("/push/main", first, f"Bearer {tablet.access}").status == 206
    return tablet


def _last_piece(actor: Actor) -> Reply:
    return actor.calls.post("/push/main", _pieces(actor)[1], f"Bearer {actor.access}")


def _log_in_wrongly(actor: Actor) -> Reply:
    return actor.calls.login(actor.phone.another(client_id=actor.phone.client_id, password="wrong"))


def _synced_and_logged_in(actor: Actor) -> Actor:
    return actor.registered().logged_in().synced(CONFLICTING)


@dataclass(frozen=True)
class Scenario:
    ready: Callable[[Actor], Actor]
    call: Callable[[Actor], Reply]
    status: int = 200
    keeps: frozenset[str] = frozenset()
    """Tables that may change although the call fails in the end: what an earlier transaction of the call has stored."""
    mailed: int = 0
    """Mails that must have arrived at its user's in the end."""

    def run(self, actor: Actor) -> tuple[Outcome, Reply | None]:
        """The call's outcome in comparable form, and its answer; None where the answer broke off."""
        try:
            reply = self.call(actor)
        except httpx.RemoteProtocolError:
            return (0, "broken off"), None
        return (reply.status, masked(reply.json())), reply


_COUNTED = frozenset({"pins"})
SCENARIOS = {
    "register": Scenario(lambda actor: actor, lambda actor: actor.calls.register(actor.phone)),
    "register again": Scenario(Actor.registered, lambda actor: actor.calls.register(actor.phone)),
    "join": Scenario(_with_second, lambda actor: actor.calls.register(actor.second, new=False)),
    "login": Scenario(Actor.registered, lambda actor: actor.calls.login(actor.phone)),
    "login again": Scenario(lambda actor: actor.registered().logged_in(), lambda actor: actor.calls.login(actor.phone)),
    "wrong password": Scenario(Actor.registered, _log_in_wrongly, 403),
    "refresh, rotating": Scenario(_due_for_rotation, lambda actor: actor.calls.refresh(actor.refresh)),
    "refresh, first use": Scenario(_rotated, lambda actor: actor.calls.refresh(actor.refresh)),
    "pull": Scenario(_in_a_cancelled_sync, lambda actor: actor.post("pull")),
    "paged pull": Scenario(_with_many_rows, lambda actor: actor.post("pull"), keeps=frozenset({"clients"})),
    "push": Scenario(_tablet_against_phone, lambda actor: actor.post("push", changes=CONFLICTING)),
    "part of a push": Scenario(
        _tablet_against_phone, lambda actor: actor.post("push", changes=CONFLICTING, isPartial=1)
    ),
    "upload": Scenario(_first_piece_sent, _last_piece, keeps=frozenset({"uploads", "upload_parts"})),
    "cancel": Scenario(_tablet_against_phone, lambda actor: actor.post("cancelSync")),
    "unregister": Scenario(_synced_and_logged_in, lambda actor: actor.calls.unregister(actor.phone, actor.access)),
    "unregister with data": Scenario(
        _synced_and_logged_in, lambda actor: actor.calls.unregister(actor.phone, actor.access, data=True)
    ),
    "forgotten": Scenario(Actor.registered, lambda actor: actor.calls.forgotten(actor.phone.email), mailed=1),
    "change": Scenario(
        _with_pin,
        lambda actor: actor.calls.change(actor.phone.email, actor.pin, "another password"),
        keeps=_COUNTED,
        mailed=1,
    ),
}
