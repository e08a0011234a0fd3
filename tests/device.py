"""A device that does what an app with sync_client 1.5.3 does: its tables, its log of edits, its calls, its faults.

What the app keeps in its SQLite file is `State`; everything else dies with a crash. Every HTTP exchange goes through
`transport` (see wire.py), every step between exchanges through `step`, so that a test can make anything fail anywhere.
"""

from __future__ import annotations

import base64
import copy
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wire import Answer, Crash, Lost, Request, Send, Transport, compress, direct, encode

Key = tuple[str, str]  # (tablename, rowguid)
Row = dict[str, Any]  # the columns that are not NULL, without the key
Change = dict[str, Any]  # as it goes over the wire
PART = 100  # changes in one push of sync_client


class SyncFailed(Exception):
    """What sync_client throws: a call that failed for good."""


class Offline(SyncFailed):
    """No answer, twice."""


class Unauthorized(SyncFailed):
    """403: the token or password is bad."""


class Refused(SyncFailed):
    """Any other status; the app shows the message."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(f"{status} {message}")


@dataclass
class Entry:
    """A line of the log of edits that are not yet synced."""

    key: Key
    operation: str
    date: int


@dataclass
class State:
    rows: dict[Key, Row] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    cursor: int | None = None
    client_id: str | None = None
    name: str | None = None
    email: str = ""
    password: str = ""
    access: str | None = None
    refresh: str | None = None


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


def unhindered(_step: str) -> None:
    pass


@dataclass
class Device:
    """One installed app. `send` reaches the server; `clock` is the device's, in ms since the epoch, and may be wrong."""

    send: Send
    realm: str
    tables: Sequence[str] = ("todos", "notes")
    encrypted: Sequence[str] = ()
    """Columns that the app encrypts: they are sent as null where they are NULL, all others are then left out."""
    clock: Callable[[], int] = wall_clock
    transport: Transport = direct
    step: Callable[[str], None] = unhindered
    """Called with `captured`, `apply`, `applied`, `pushed` and `forgotten` at these points of a sync; may raise Crash."""
    part: int = PART
    state: State = field(default_factory=State)
    pulled: list[dict[str, Any]] = field(default_factory=list)
    """What the last pull delivered."""

    # Edits, with the log rules of the client.

    def insert(self, table: str, guid: str, row: Row) -> None:
        assert (table, guid) not in self.state.rows
        self.state.rows[table, guid] = dict(row)
        self._log((table, guid), "I")

    def update(self, table: str, guid: str, row: Row) -> None:
        assert (table, guid) in self.state.rows
        self.save(table, guid, row)

    def save(self, table: str, guid: str, row: Row) -> None:
        """Write the row whether or not it exists; the client calls both an update."""
        self.state.rows[table, guid] = dict(row)
        before = self._logged((table, guid))
        if before is not None:
            if before.operation == "I":
                return  # the insert stays, with its date: to the server the row is new anyway
            self.state.log.remove(before)
        self._log((table, guid), "U")

    def delete(self, table: str, guid: str) -> None:
        del self.state.rows[table, guid]
        before = self._logged((table, guid))
        if before is not None:
            self.state.log.remove(before)
            if before.operation == "I":
                return  # the server never heard of it, as far as this device knows
        self._log((table, guid), "D")

    def _logged(self, key: Key) -> Entry | None:
        return next((entry for entry in self.state.log if entry.key == key), None)

    def _log(self, key: Key, operation: str) -> None:
        if self.state.client_id is not None:  # nothing is logged before the registration
            self.state.log.append(Entry(key, operation, self.clock()))

    def pending(self) -> list[Change]:
        """The log as it goes over the wire: each row's last entry, by table, each with the row as it is now."""
        last = {entry.key: entry for entry in self.state.log}
        ordered = [entry for entry in self.state.log if last[entry.key] is entry]
        ordered.sort(key=lambda entry: self.tables.index(entry.key[0]))
        return [self._change(entry) for entry in ordered]

    def _change(self, entry: Entry) -> Change:
        table, guid = entry.key
        row = self.state.rows.get(entry.key)
        data = {} if row is None else {"rowguid": guid, **row}  # a row that is gone leaves nothing, not even its key
        data |= {column: None for column in self.encrypted if column not in data}
        return {
            "operation": entry.operation,
            "rowguid": guid,
            "tablename": table,
            "clientdate": entry.date,
            "rowData": data,
        }

    # Account.

    @property
    def client_id(self) -> str:
        assert self.state.client_id is not None, "the device is not registered"
        return self.state.client_id

    def register(self, email: str, password: str, *, new: bool, name: str | None = "Ann") -> dict[str, Any]:
        """Register the user and this device (`new`) or only this device; every row that it has is logged as an insert."""
        client_id = str(uuid.uuid4())
        answer = self.call(
            f"/register/{self.realm}",
            {
                "name": name,
                "email": email,
                "password": password,
                "clientId": client_id,
                "clientDescription": '{"name":"Ann\'s phone","systemName":"iOS"}',
                "newRegistration": new,
                "deleteRemoteData": False,
                "language": "en",
            },
        )
        state = self.state
        state.name = name or answer["user"]["name"]
        state.email, state.password, state.client_id = email, password, client_id
        for key in sorted(state.rows, key=lambda key: self.tables.index(key[0])):
            self._log(key, "I")
        return answer

    def unregister(self, *, delete_remote_data: bool = False) -> None:
        """Leave the server; rows stay on the device, everything about the sync is forgotten."""
        state = self.state
        self.authenticated(
            f"/unregister/{self.realm}",
            {
                "name": None,
                "email": state.email,
                "password": state.password,
                "clientId": state.client_id,
                "clientDescription": None,
                "newRegistration": False,
                "deleteRemoteData": delete_remote_data,
                "language": None,
            },
        )
        self.state = State(rows=state.rows)

    def forgotten_password(self, email: str) -> None:
        self.call(f"/password/{self.realm}/forgotten", {"email": email})

    def change_password(self, pin: str, password: str) -> None:
        body = {"email": self.state.email, "password": password, "pin": pin}
        self.call(f"/password/{self.realm}/change", body)
        self.state.password = password

    def login(self) -> None:
        credentials = base64.b64encode(f"{self.state.email}:{self.state.password}".encode()).decode()
        answer = self.call(f"/login/{self.realm}", {"clientId": self.client_id}, f"Basic {credentials}")
        self._keep_tokens(answer)

    def refresh(self) -> None:
        """Get new tokens; when the server will not have the old ones, with the stored password."""
        try:
            self._keep_tokens(self.call(f"/login/{self.realm}/refreshToken", {"refreshToken": self.state.refresh}))
        except Unauthorized:
            self.login()

    def _keep_tokens(self, answer: dict[str, Any]) -> None:
        self.state.access, self.state.refresh = answer["accessToken"], answer["refreshToken"]

    def fetch_token(self) -> None:
        """Before every authenticated call: the client trusts no token that it has."""
        if self.state.access is None:
            self.login()
        self.refresh()

    # Calls.

    def call(self, path: str, body: Any, authorization: str | None = None) -> dict[str, Any]:
        """One call: gzipped, and once more as it is when that failed, whatever the reason."""
        payload = encode(body)
        try:
            answer = self._exchange(Request(path, compress(payload), authorization, gzipped=True))
        except Lost:
            answer = None
        if answer is None or answer.status != 200:
            try:
                answer = self._exchange(Request(path, payload, authorization))
            except Lost as fault:
                raise Offline(path) from fault
        return self._read(answer)

    def _exchange(self, request: Request) -> Answer:
        return self.transport(request, self.send)

    @staticmethod
    def _read(answer: Answer) -> dict[str, Any]:
        if answer.status == 200:
            value = answer.json()
            assert isinstance(value, dict), value
            return value
        if answer.status == 403:
            raise Unauthorized(answer.message)
        raise Refused(answer.status, answer.message)

    def authenticated(self, path: str, body: Any) -> dict[str, Any]:
        """A call with a token; on 403 once more with another one."""
        self.fetch_token()
        try:
            return self.call(path, body, f"Bearer {self.state.access}")
        except Unauthorized:
            pass
        try:
            self.refresh()
        except SyncFailed as failure:
            raise Unauthorized("the user has to log in again") from failure
        self.fetch_token()
        return self.call(path, body, f"Bearer {self.state.access}")

    # The sync.

    def sync(self) -> None:
        """Pull, apply, push, and tell the server that it is over; raises SyncFailed, or Crash from the hooks."""
        try:
            self._sync()
        except SyncFailed:
            self.cancel()
            raise
        self.cancel()

    def tries_to_sync(self) -> bool:
        """A sync whose failure or crash is part of the game; whether it came to its end."""
        try:
            self.sync()
        except (SyncFailed, Crash):
            return False
        return True

    def _sync(self) -> None:
        cursor = self.state.cursor or 0
        changes = self.pending()
        self.step("captured")
        answer = self.pull(changes, cursor)
        outdated = set(answer["outdatedRowsGuid"])
        changes = [change for change in changes if change["rowguid"] not in outdated]
        for row in answer["data"]:
            self.step("apply")
            self.apply(row)
        self.step("applied")
        last_sync = self._push_in_parts(changes, cursor)
        self.step("pushed")
        if last_sync is None:
            return
        self.state.log.clear()  # all of it: edits made since the capture are forgotten, too
        self.step("forgotten")
        self.state.cursor = last_sync

    def _push_in_parts(self, changes: list[Change], cursor: int) -> int | None:
        if len(changes) < self.part:
            return self.push(changes, cursor=cursor)
        answer: int | None = None
        for start in range(0, len(changes), self.part):
            end = start + self.part
            answer = self.push(changes[start:end], partial=end < len(changes), cursor=cursor)
        return answer

    def apply(self, row: dict[str, Any]) -> None:
        """Store a row that the server sent; it is not an edit, so nothing is logged."""
        key = (row["tablename"], row["rowguid"])
        if key[0] not in self.tables:
            raise SyncFailed(f"the app has no table {key[0]}")
        if row["operation"] == "D":
            self.state.rows.pop(key, None)
        elif row.get("rowData") is not None:
            data = row["rowData"].items()
            self.state.rows[key] = {name: value for name, value in data if value is not None and name != "rowguid"}

    def pull(self, changes: Sequence[Change] | None = None, cursor: int | None = None) -> dict[str, Any]:
        """The pull of a sync; by default with the device's own changes and cursor. Applies nothing."""
        bare = [
            {name: value for name, value in change.items() if name != "rowData"}
            for change in (self.pending() if changes is None else changes)
        ]
        body = self.body(bare, 0, cursor)
        answer = self.sync_call("pull", body)
        self.pulled = answer["data"]
        return answer

    def push(self, changes: Sequence[Change], *, partial: bool = False, cursor: int | None = None) -> int | None:
        """One call of a push; the answer's `lastSync`."""
        answer = self.sync_call("push", self.body(changes, int(partial), cursor))
        last_sync: int | None = answer["lastSync"]
        assert (last_sync is None) == partial, answer
        return last_sync

    def body(self, changes: Sequence[Change], is_partial: int, cursor: int | None) -> dict[str, Any]:
        last_sync = (self.state.cursor or 0) if cursor is None else cursor
        return {"clientId": self.client_id, "lastSync": last_sync, "isPartial": is_partial, "changes": list(changes)}

    def sync_call(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a pull or a push."""
        return self.authenticated(f"/{kind}/{self.realm}/{self.client_id}", body)

    def cancel(self) -> None:
        """Tell the server that the sync is over; whether it hears of it or not does not matter to the device."""
        with suppress(SyncFailed):
            self.authenticated(f"/cancelSync/{self.realm}", {"clientId": self.client_id})

    # Backups.

    def backup(self) -> State:
        """What a backup of the phone keeps: all that the app has stored, its tokens too."""
        return copy.deepcopy(self.state)

    def restore(self, backup: State) -> None:
        self.state = copy.deepcopy(backup)
