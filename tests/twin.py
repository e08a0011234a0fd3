"""The model beside the server: every exchange that reaches the server is done to the model, too, and compared.

What the two cannot have in common is the server's clock. So the model is told what the server made of it: a push's stamp
is read from the database, after checking that it is a stamp that the rules allow at that time; a rank is accepted when a
clock within the duration of the call explains it. All else must be equal after each call: the answer, every row with its
version and stamp, the versions that lost, the clock of the space. As the stamps are equal, so are the cursors, and an
outcome of the model is never a matter of milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jwt

from device import wall_clock
from model import OPERATOR, Change, Client, Delivered, Key, Refused, Space, Token, TokenRejected
from operators import put_back
from sync_server.stored.versions import RowKey
from users import User
from wire import Answer, Request

T = TypeVar("T")


class Applied(NamedTuple):
    """A change of a call that was answered with success."""

    key: Key
    client: str
    change: Change


class Twin:
    """Sends the requests of one user's devices, and follows them with the model."""

    def __init__(self, user: User) -> None:
        self.user, self.space = user, Space()
        self.tokens: dict[str, tuple[str, Token]] = {}  # access token: client, the model's token
        self.acknowledged: set[Applied] = set()

    def send(self, request: Request) -> Answer:
        """Have the server answer, then the model, and compare. Raises AssertionError where they differ."""
        begun = wall_clock()
        answer = self.user.send(request)
        ended = wall_clock()
        call = request.path.split("/")[1]
        assert answer.status < 500, answer
        if call == "login":
            self._follow_login(answer)
        elif answer.status == 403:
            self._follow_rejection(request)
        elif call == "pull":
            self._follow_pull(request, answer)
        elif call == "push":
            self._follow_push(request, answer, begun, ended)
        elif call == "cancelSync":
            assert answer.status == 200, answer
            client, token = self._bearer(request)
            self.space.cancel(token, client)
        return answer

    def _follow_login(self, answer: Answer) -> None:
        if answer.status != 200:
            assert answer.status == 403, answer
            return
        access = answer.json()["accessToken"]
        client = _claims(access)["cid"]
        self.space.clients.setdefault(client, Client())
        self.tokens[access] = (client, self.space.refresh(client))

    def _follow_rejection(self, request: Request) -> None:
        """A token is void only when its session has ended, as that of a restored backup, or its client has left; and for a
        pull when the database has crashed since.
        """
        claims = _claims(_token(request))
        found = self.user.connection.execute("SELECT session FROM sync.clients WHERE id = %s", (claims["cid"],))
        if any(claims["ses"] == stored["session"] for stored in found.fetchall()):
            assert request.path.startswith("/pull/"), "a valid token was rejected"
            assert isinstance(self._pulled(request), TokenRejected), "a valid token was rejected"

    def _bearer(self, request: Request) -> tuple[str, Token]:
        return self.tokens[_token(request)]

    def _follow_pull(self, request: Request, answer: Answer) -> None:
        delivered = self._pulled(request)
        if isinstance(delivered, Refused):
            assert str(delivered) in refusal_of(answer)
            return
        assert answer.status == 200, answer
        assert answer.json()["outdatedRowsGuid"] == []
        assert [_delivered(row) for row in answer.json()["data"]] == delivered

    def _pulled(self, request: Request) -> list[Delivered] | Refused:
        """What the model says."""
        body = request.json()
        client, token = self._bearer(request)
        pending = {_key(change): (change["operation"], change["clientdate"]) for change in body["changes"]}
        return _outcome(lambda: self.space.pull(token, client, body["lastSync"], pending))

    def _follow_push(self, request: Request, answer: Answer, begun: int, ended: int) -> None:
        body = request.json()
        client, token = self._bearer(request)
        cursor, changes, partial = body["lastSync"], changes_of(body), bool(body["isPartial"])
        before, after = self.space.clock, self.user.clock
        assert after >= before
        if after > before + 1:
            assert begun <= after <= ended, "a stamp is neither the time nor the next one"
        under_way = self.space.clients[client].sync is not None
        now = min(after, ended)  # the stamp, unless the clock of the space is ahead of the time
        pushed = _outcome(lambda: self.space.push(token, client, cursor, changes, partial, now))
        if isinstance(pushed, Refused):
            assert str(pushed) in refusal_of(answer)
        else:
            assert answer.status == 200, answer
            assert answer.json() == {"lastSync": pushed}
            if under_way:
                self.acknowledged |= {Applied(key, client, change) for key, change in changes.items()}
        self._compare(begun, ended)

    def bring_back(self, key: Key, row_data: str | None) -> None:
        """Have the server's own rule restore this version as an operator does, and the model; they must agree."""
        begun = wall_clock()
        restored = put_back(self.user.connection, RowKey(self.user.space_id, *key), row_data)
        ended = wall_clock()
        assert self.space.restore(key, canonical(row_data), min(self.user.clock, ended)) == restored.changed
        if restored.changed:
            row = self.space.rows[key]
            self.acknowledged.add(Applied(key, OPERATOR, (row.operation, row.client_date, row.data)))
        self._compare(begun, ended)

    def crash(self) -> None:
        """What PostgreSQL makes of an unlogged table then, as far as it is this user's."""
        owned = "SELECT c.id FROM sync.clients c JOIN sync.users u ON u.id = c.user_id WHERE u.email = %s"
        self.user.connection.execute(f"DELETE FROM sync.syncs WHERE client_id IN ({owned})".encode(), [self.user.email])
        self.space.crash()

    def prune(self, age: int) -> None:
        """Have the server's own statement prune tombstones of that age (ms before the space's clock), and the model."""
        oldest = self.space.clock - age
        gone = self.user.prune_tombstones(oldest)
        assert self.space.prune(oldest) == gone
        self._compare(0, 0)

    def _compare(self, begun: int, ended: int) -> None:
        """The state of the space, as the database and as the model has it."""
        assert self.user.clock == self.space.clock
        stored = self.user.rows()
        assert stored.keys() == self.space.rows.keys()
        for key, row in self.space.rows.items():
            found = stored[key]
            version = (found["operation"], canonical(found["row_data"]), found["client_date"], str(found["client_id"]))
            assert version == (row.operation, row.data, row.client_date, row.client), key
            assert found["stamp"] == row.stamp, key
            assert abs(found["rank"] - row.rank) <= ended - begun, (key, found["rank"], row.rank)
            row.rank = found["rank"]
        lost = [_lost(line) for line in self.user.overridden()]
        assert sorted(lost, key=repr) == sorted(self.space.overridden, key=repr)

    def check_acknowledged(self) -> None:
        """Every acknowledged change is current or superseded, so in the history, or kept among those that lost."""
        newest = {key: row["stamp"] for key, row in self.user.rows().items()}
        newest |= {key: row.stamp for key, row in self.space.recorded.items() if key not in newest}  # pruned
        recorded = {}
        for line in self.user.history():
            key = (line["tablename"], line["rowguid"])
            assert line["stamp"] <= newest[key], "the history knows of a later version than the rows"
            recorded[key, str(line["client_id"]), line["operation"], line["client_date"]] = line["stamp"]
        kept = {_lost(line) for line in self.user.overridden()}
        for key, client, change in self.acknowledged:
            if (key, client, *change[:2]) not in recorded and (key, client, change) not in kept:
                assert self._stored(key) == change[2] or self._said_by_another(key, change), (key, change)

    def _stored(self, key: Key) -> Any:
        row = self.space.rows.get(key)
        return None if row is None else row.data

    def _said_by_another(self, key: Key, change: Change) -> bool:
        """Whether another device had stored the same value, so that nothing was lost with this change."""
        return any(applied.key == key and applied.change[2] == change[2] for applied in self.acknowledged)

    def live_rows(self) -> dict[Key, Any]:
        """What every device must hold in the end, according to the model."""
        return {key: row.data for key, row in self.space.rows.items() if row.operation != "D"}


def refusal_of(answer: Answer) -> str:
    assert answer.status == 409, answer
    return answer.message


def changes_of(body: dict[str, Any]) -> dict[Key, Change]:
    """The changes of a push as the model takes them, in the order of their last occurrences."""
    changes: dict[Key, Change] = {}
    for change in body["changes"]:
        changes.pop(_key(change), None)
        values = change.get("rowData") or {}
        gone = change["operation"] == "D" or all(value is None for value in values.values())
        data = None if gone else canonical(json.dumps(values))
        changes[_key(change)] = ("D" if gone else change["operation"], change["clientdate"], data)
    return changes


def canonical(row_data: str | None) -> str | None:
    """A JSON text that is the same for equal rows."""
    return None if row_data is None else json.dumps(json.loads(row_data), sort_keys=True)


def _key(row: dict[str, Any]) -> Key:
    return (row["tablename"], row["rowguid"])


def _delivered(row: dict[str, Any]) -> Delivered:
    data = None if row.get("rowData") is None else canonical(json.dumps(row["rowData"]))
    return Delivered(_key(row), row["operation"], data, row["clientdate"], row["clientid"])


def _lost(line: dict[str, Any]) -> tuple[Key, str, Change]:
    change = (line["operation"], line["client_date"], canonical(line["row_data"]))
    return (_key(line), str(line["client_id"]), change)


def _token(request: Request) -> str:
    assert request.authorization is not None
    return request.authorization.removeprefix("Bearer ")


def _claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def _outcome(function: Callable[[], T]) -> T | Refused:
    try:
        return function()
    except Refused as refusal:
        return refusal
