"""A token that was good ends at once: with its client, its user, the password, the account's activity, its session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from device import Unauthorized
from routes.calls import TOKEN_CALLS, Http, basic, bearer
from routes.refusals import refusal
from routes.world import World
from sync_server.accounts import pins
from users import Connection, User

ROTATION = 5 * 60_000  # ms


def unregister(world: World) -> None:
    world.phone.unregister()


def remove_the_user(world: World) -> None:
    world.tablet.unregister(delete_remote_data=True)


def change_the_password(world: World) -> None:
    world.phone.forgotten_password(world.user.email)
    world.tablet.change_password(pin_of(world), "another password")


def pin_of(world: World) -> str:
    """The PIN that is on its way to the user."""
    query = "SELECT p.nonce FROM sync.pins p JOIN sync.users u ON u.id = p.user_id WHERE u.email = %s"
    row = world.user.connection.execute(query, (world.user.email,)).fetchone()
    assert row is not None
    return pins.pin(world.keys, row["nonce"])


def deactivate(world: World) -> None:
    world.user.connection.execute("UPDATE sync.users SET active = false WHERE email = %s", (world.user.email,))


def use_an_old_refresh_token(world: World) -> None:
    """Somebody has a copy of it, so the session ends for both."""
    phone = world.phone
    old = phone.state.refresh
    age = "UPDATE sync.clients SET refresh_issued = refresh_issued - %s WHERE id = %s"
    world.user.connection.execute(age, (ROTATION, phone.client_id))
    for _ in range(2):  # the first gets a new one, which the second uses
        answer = phone.call(f"/login/{phone.realm}/refreshToken", {"refreshToken": phone.state.refresh})
        phone._keep_tokens(answer)  # noqa: SLF001 - as the app does
    assert phone.state.refresh != old
    with pytest.raises(Unauthorized):
        phone.call(f"/login/{phone.realm}/refreshToken", {"refreshToken": old})


ENDS: dict[str, Callable[[World], None]] = {
    "client unregistered": unregister,
    "user removed": remove_the_user,
    "password changed by PIN": change_the_password,
    "user deactivated": deactivate,
    "refresh token reused": use_an_old_refresh_token,
}


@pytest.mark.parametrize("end", ENDS)
def test_g8_a_token_ends_at_once(http: Http, world: World, end: str) -> None:
    made = {call: make(world.phone) for call, make in TOKEN_CALLS.items()}
    assert http.post(f"/cancelSync/{world.phone.realm}", {}, bearer(world.tablet)).status_code == 200
    ENDS[end](world)
    before = world.snapshot()
    for call in made.values():
        refusal(http.make(call), 403, "token_rejected")
    assert world.snapshot() == before, "by one of them"


@pytest.mark.parametrize("end", ENDS)
def test_g8_a_refresh_token_ends_at_once(http: Http, world: World, end: str) -> None:
    token, path = world.phone.state.refresh, f"/login/{world.phone.realm}/refreshToken"
    assert http.post(path, {"refreshToken": token}).status_code == 200
    ENDS[end](world)
    before = world.snapshot()
    refusal(http.post(path, {"refreshToken": token}), 403, "token_rejected")
    assert world.snapshot() == before


@pytest.mark.parametrize("end", ["client unregistered", "user removed", "user deactivated"])
def test_g8_whoever_is_gone_cannot_log_in(http: Http, world: World, end: str) -> None:
    client_id, credentials = world.phone.client_id, basic(world.phone)
    ENDS[end](world)
    answer = http.post(f"/login/{world.user.realm}", {"clientId": client_id}, credentials)
    refusal(answer, 403, "login_rejected")


@pytest.mark.parametrize("end", ["client unregistered", "refresh token reused"])
def test_the_users_other_client_goes_on(http: Http, world: World, end: str) -> None:
    ENDS[end](world)
    assert http.make(TOKEN_CALLS["pull"](world.tablet)).status_code == 200


def test_the_other_users_go_on(http: Http, world: World) -> None:
    for end in (change_the_password, remove_the_user):
        end(world)
        for other in (world.stranger, world.abroad):
            assert http.make(TOKEN_CALLS["pull"](other)).status_code == 200


def test_a_removed_user_leaves_nothing(world: World) -> None:
    user_id, space_id = _ids(world.user.connection, world.user)
    client_ids = [world.phone.client_id, world.tablet.client_id]
    world.phone.forgotten_password(world.user.email)
    remove_the_user(world)
    connection = world.user.connection
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'sync'").fetchall()
    for table in (row["tablename"] for row in tables):
        text = "\n".join(str(row.values()) for row in connection.execute(f"SELECT * FROM sync.{table}").fetchall())
        for trace in (user_id, space_id, *client_ids, world.user.email, "title of the row of " + world.user.email):
            assert trace not in text, table


def _ids(connection: Connection, user: User) -> tuple[str, str]:
    row = connection.execute("SELECT id, space_id FROM sync.users WHERE email = %s", (user.email,)).fetchone()
    assert row is not None
    return str(row["id"]), str(row["space_id"])
