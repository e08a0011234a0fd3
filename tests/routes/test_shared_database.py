"""Realms that share a database share users and rows, but not tokens (G8); and the realm that takes the unknown names."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from conftest import Process
from device import Device
from routes.calls import TOKEN_CALLS, Http, bearer
from routes.conftest import keys_of
from routes.forgery import claims, sign
from routes.refusals import refusal
from users import User, look_into
from wire import Wire


@pytest.fixture(scope="module")
def there(peculiar: Process) -> Iterator[Http]:
    with httpx.Client(base_url=peculiar.url, timeout=60) as client:
        yield Http(client)


@pytest.fixture
def phone(peculiar: Process) -> Iterator[Device]:
    """A device of realm one, whose user and rows are those of realm two as well."""
    wire = Wire(peculiar.url)
    with look_into(peculiar.config["db"]["realms"]["one"]) as connection:
        device = User(wire.send, "one", connection).device()
        device.insert("todos", "1", {"title": "milk"})
        device.sync()
        device.pull([], 0)
        yield device
    wire.close()


def state(peculiar: Process, device: Device) -> list[object]:
    with look_into(peculiar.config["db"]["realms"]["one"]) as connection:
        return [
            connection.execute("SELECT * FROM sync.clients WHERE id = %s", (device.client_id,)).fetchall(),
            connection.execute("SELECT * FROM sync.rows WHERE client_id = %s", (device.client_id,)).fetchall(),
        ]


@pytest.mark.parametrize("call", TOKEN_CALLS)
def test_g8_a_token_of_one_realm_is_void_in_the_other(there: Http, peculiar: Process, phone: Device, call: str) -> None:
    token = bearer(phone)
    phone.realm = "two"
    made = TOKEN_CALLS[call](phone)
    before = state(peculiar, phone)
    refusal(there.post(made.path, made.body, token), 403, "token_rejected")
    assert state(peculiar, phone) == before
    assert there.post(made.path.replace("/two", "/one"), made.body, token).status_code in (200, 206)


def test_g8_so_is_a_refresh_token(there: Http, phone: Device) -> None:
    body = {"refreshToken": phone.state.refresh}
    refusal(there.post("/login/two/refreshToken", body), 403, "token_rejected")
    assert there.post("/login/one/refreshToken", body).status_code == 200


def test_the_realms_share_users_and_rows(phone: Device) -> None:
    phone.cancel()
    phone.realm = "two"
    phone.login()
    phone.state.cursor = 0
    phone.sync()
    assert [row["rowguid"] for row in phone.pulled] == ["1"]


def test_an_unknown_realm_is_the_one_that_is_configured_for_it(there: Http, peculiar: Process, phone: Device) -> None:
    phone.cancel()
    phone.realm = "Never-Heard-Of"
    phone.login()
    assert claims(phone.state.access)["realm"] == "two"
    assert there.post("/pull/two", {"lastSync": 0}, bearer(phone)).status_code == 200
    refusal(there.post("/pull/one", {"lastSync": 0}, bearer(phone)), 403)
    keys = keys_of(peculiar.directory / "data")
    forged = sign({**claims(phone.state.access), "realm": "never-heard-of"}, keys.access)
    refusal(there.post("/pull/Never-Heard-Of", {"lastSync": 0}, f"Bearer {forged}"), 403)


def test_a_realm_whose_database_is_down_says_so(there: Http) -> None:
    answer = there.post("/password/down/forgotten", {"email": "ann@example.com"})
    refusal(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_the_others_do_not_notice(there: Http, phone: Device) -> None:
    assert there.make(TOKEN_CALLS["pull"](phone)).status_code == 200
