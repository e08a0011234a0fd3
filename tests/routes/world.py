"""Who there is in a test of the tokens, and what the databases hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from psycopg import sql

from device import Device
from routes.forgery import claims
from sync_server.keys import Keys
from users import Connection, User


@dataclass
class World:
    """A user with a phone in the middle of a sync and a tablet; a stranger; and the user once more, in another realm,
    where the phone's clientId is known too.
    """

    user: User
    phone: Device
    tablet: Device
    stranger: Device
    abroad: Device
    keys: Keys
    connections: list[Connection]
    ids: list[str] = field(default_factory=list)
    """Of all users, spaces and clients here."""

    def snapshot(self) -> dict[str, Any]:
        """Both realms: how many rows each table has, and a digest of those that are of anybody here. Left out are mails and
        what is counted of calls: they are sent and written in their own time.
        """
        return {
            f"{number} {row['name']}": (row["rows"], row["digest"])
            for number, connection in enumerate(self.connections)
            for row in connection.execute(_digests(connection), {"ids": self.ids}).fetchall()
        }

    @property
    def secrets(self) -> list[str]:
        """What a refusal must not tell."""
        user = [self.user.email, self.user.password, str(self.user.space_id)]
        devices = [device.client_id for device in (self.phone, self.tablet, self.stranger)]
        return [*user, *devices, self.stranger.state.email, "title of the row"]


@cache
def _digests(connection: Connection) -> sql.Composed:
    """One statement for all tables; each is told by its first column of these whose row it is. Which columns there are
    is looked up once: it takes longer than all that they hold.
    """
    columns = """
        SELECT table_name AS name, array_agg(column_name::text) AS columns FROM information_schema.columns
        WHERE table_schema = 'sync' AND table_name NOT IN ('mails', 'stats', 'device_status', 'activity')
        GROUP BY table_name"""
    found = connection.execute(columns).fetchall()
    assert len(found) >= 8
    return sql.SQL(" UNION ALL ").join(_digest(table["name"], table["columns"]) for table in found)


def _digest(table: str, columns: list[str]) -> sql.Composed:
    whole = """
        SELECT {} AS name, count(*) AS rows, md5(string_agg(t::text, '|' ORDER BY t::text) FILTER (WHERE {})) AS digest
        FROM {} t"""
    owner = next((name for name in ("space_id", "user_id", "client_id", "id") if name in columns), None)
    ours = sql.SQL("true") if owner is None else sql.SQL("{}::text = ANY(%(ids)s)").format(sql.Identifier(owner))
    return sql.SQL(whole).format(sql.Literal(table), ours, sql.Identifier("sync", table))


def build(home: User, stranger: User, abroad: User, keys: Keys) -> World:
    phone, tablet = home.device(), home.device()
    phone.insert("todos", "1", {"title": f"title of the row of {home.email}"})
    for device in (phone, tablet, stranger.device()):
        device.sync()
    abroad.email, abroad.password = home.email, home.password
    world = World(
        home,
        phone,
        tablet,
        stranger.devices[0],
        _same_client(abroad, phone),
        keys,
        [home.connection, abroad.connection],
    )
    for device in (phone, tablet, world.stranger, world.abroad):
        device.fetch_token()
        token = claims(device.state.access)
        world.ids += [token["sub"], token["cid"]]  # a user's space has the user's id
    phone.pull([], 0)
    return world


def _same_client(abroad: User, phone: Device) -> Device:
    """The phone's clientId in the other realm, as a client of the same email and password."""
    body = {"name": "Ann", "email": abroad.email, "password": abroad.password, "clientId": phone.client_id}
    device = Device(abroad.send, abroad.realm)
    device.call(f"/register/{abroad.realm}", body)
    device.state.email, device.state.password, device.state.client_id = abroad.email, abroad.password, phone.client_id
    return device
