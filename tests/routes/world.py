"""Who there is in a test of the tokens, and what the databases hold."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from device import Device
from routes.calls import bearer
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

    def snapshot(self) -> dict[str, str | None]:
        """A digest of every table of both realms. Mails are left out: they go out in their own time."""
        names = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'sync'"
        found: dict[str, str | None] = {}
        for number, connection in enumerate(self.connections):
            tables = {row["name"] for row in connection.execute(names).fetchall()} - {"mails"}
            assert len(tables) >= 8
            rows = connection.execute(sql.SQL(" UNION ALL ").join(map(_digest, sorted(tables)))).fetchall()
            found |= {f"{number} {row['name']}": row["digest"] for row in rows}
        return found

    @property
    def secrets(self) -> list[str]:
        """What a refusal must not tell."""
        user = [self.user.email, self.user.password, str(self.user.space_id)]
        devices = [device.client_id for device in (self.phone, self.tablet, self.stranger)]
        return [*user, *devices, self.stranger.state.email, "title of the row"]


def _digest(table: str) -> sql.Composed:
    whole = "SELECT {} AS name, md5(string_agg(t::text, '|' ORDER BY t::text)) AS digest FROM {} t"
    return sql.SQL(whole).format(sql.Literal(table), sql.Identifier("sync", table))


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
        bearer(device)
        device.fetch_token()
    phone.pull([], 0)
    return world


def _same_client(abroad: User, phone: Device) -> Device:
    """The phone's clientId in the other realm, as a client of the same email and password."""
    body = {"name": "Ann", "email": abroad.email, "password": abroad.password, "clientId": phone.client_id}
    device = Device(abroad.send, abroad.realm)
    device.call(f"/register/{abroad.realm}", body)
    device.state.email, device.state.password, device.state.client_id = abroad.email, abroad.password, phone.client_id
    return device
