"""Users with several devices, and a look into the realm's database to see what the server made of their calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from device import Change, Device
from sync_server.database import queries
from wire import Answer, Request, Send, new_email

Connection = psycopg.Connection[dict[str, Any]]
D = TypeVar("D", bound=Device)
TWO_MINUTES = 130_000  # ms, and a little more


@dataclass
class User:
    """Somebody whose devices share a space; the first device registers the user."""

    send: Send
    realm: str
    connection: Connection
    email: str = field(default_factory=new_email)
    password: str = "correct horse: battery ✓"
    devices: list[Device] = field(default_factory=list)

    def device(self, **options: Any) -> Device:
        return self.join(Device(**{"send": self.send, "realm": self.realm, **options}))

    def join(self, device: D) -> D:
        """Register the device as one of this user's."""
        device.register(self.email, self.password, new=not self.devices)
        self.devices.append(device)
        return device

    # What the database holds.

    @cached_property
    def space_id(self) -> UUID:
        space_id = self._select("SELECT space_id FROM sync.users WHERE email = %s", self.email)[0]["space_id"]
        assert isinstance(space_id, UUID)
        return space_id

    @property
    def clock(self) -> int:
        clock = self._select("SELECT clock FROM sync.spaces WHERE id = %s", self.space_id)[0]["clock"]
        assert isinstance(clock, int)
        return clock

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = self._select("SELECT * FROM sync.rows WHERE space_id = %s", self.space_id)
        return {(row["tablename"], row["rowguid"]): row for row in found}

    def history(self) -> list[dict[str, Any]]:
        return self._select("SELECT * FROM sync.history WHERE space_id = %s ORDER BY stamp, ordinal", self.space_id)

    def overridden(self) -> list[dict[str, Any]]:
        return self._select("SELECT * FROM sync.overridden WHERE space_id = %s ORDER BY stamp", self.space_id)

    def kept_aside(self) -> list[dict[str, Any]]:
        query = "SELECT k.* FROM sync.kept_aside k JOIN sync.users u ON u.id = k.user_id WHERE u.email = %s"
        return self._select(f"{query} ORDER BY k.received_at, k.id", self.email)

    def client(self, device: Device) -> dict[str, Any]:
        """What is stored of it, and of its syncs."""
        query = "SELECT * FROM sync.clients c LEFT JOIN sync.syncs y ON y.client_id = c.id WHERE c.id = %s"
        return self._select(query, device.client_id)[0]

    def two_minutes_pass(self, device: Device) -> None:
        """Put back the beginning of the device's sync under way."""
        age = "UPDATE sync.syncs SET sync_started = sync_started - %s WHERE client_id = %s"
        self.connection.execute(age, (TWO_MINUTES, device.client_id))

    def set_clock(self, clock: int) -> None:
        """As a server does whose clock is elsewhere."""
        self.connection.execute("UPDATE sync.spaces SET clock = %s WHERE id = %s", (clock, self.space_id))

    def prune_tombstones(self, oldest: int) -> int:
        """As the server does, but up to a stamp instead of an age; how many went."""
        age = "(SELECT (extract(epoch FROM now()) * 1000)::bigint - %(oldest)s)"
        statement = queries("sync")["prune_tombstones"].replace("%(age)s", age)
        values = {"space_id": self.space_id, "oldest": oldest, "most": 1000}
        [found] = self.connection.execute(statement.encode(), values).fetchall()
        count = found["gone"]
        assert isinstance(count, int)
        return count

    def _select(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.connection.execute(query, parameters).fetchall()


NewUser = Callable[..., User]
"""Make a user, in the main realm unless told otherwise."""


def look_into(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True, row_factory=dict_row)


def at(date: int) -> Callable[[], int]:
    """A device's clock that has stopped."""
    return lambda: date


def sync_all(*devices: Device) -> None:
    """Two rounds: the first brings everything to the server, the second everything to the devices."""
    for _ in range(2):
        for device in devices:
            device.sync()


def change(operation: str, guid: str, date: int, data: dict[str, Any] | None = None, *, table: str = "todos") -> Change:
    """A change as it goes over the wire."""
    made: Change = {"operation": operation, "rowguid": guid, "tablename": table, "clientdate": date}
    return made if data is None else {**made, "rowData": data}


def post_raw(device: Device, path: str, payload: bytes) -> Answer:
    """Send these very bytes as one exchange, with a fresh token and without the client's retry."""
    device.fetch_token()
    return device.send(Request(path, payload, f"Bearer {device.state.access}"))
