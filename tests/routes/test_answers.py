"""What each call answers, plain and gzipped, word for word as the clients expect it."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import httpx
import pytest

from device import Device
from routes.calls import CALLS, Call, Http, basic, bearer
from routes.test_revocation import pin_of
from routes.world import World
from users import NewUser, User, change

ZIPPED = [False, True]


def send(http: Http, call: Call, *, zipped: bool) -> httpx.Response:
    body = json.dumps(call.body).encode()
    if zipped:
        answer = http.post(call.path, gzip.compress(body), call.authorization, Content_Encoding="gzip")
    else:
        answer = http.post(call.path, body, call.authorization)
    assert answer.headers["Content-Type"] == "application/json"
    return answer


def succeed(http: Http, call: Call, *, zipped: bool) -> Any:
    answer = send(http, call, zipped=zipped)
    assert answer.status_code == 200, answer.text  # the only status that is a success for the client
    return answer.json()


def done(answer: Any) -> None:
    assert answer.keys() == {"code", "message"}
    assert answer["code"] == 200
    assert answer["message"]


@pytest.mark.parametrize("zipped", ZIPPED)
def test_register(http: Http, new_user: NewUser, zipped: bool) -> None:
    user = new_user()
    device = Device(user.send, user.realm)
    device.state.email, device.state.password = user.email, user.password
    device.state.client_id = "6F9619FF-8B86-4D01-B42D-00C04FC964FF"[:-12] + user.email[:12]
    body = {**CALLS["register"](device).body, "newRegistration": True, "language": "it", "name": "Zoë 😀"}
    body["clientDescription"] = '{"name":"Ann\'s phone","systemName":"iOS"}'
    answer = succeed(http, Call(f"/register/{user.realm}", body), zipped=zipped)
    shown = ("name", "email", "clientId", "clientDescription", "newRegistration", "language")
    assert answer == {
        "message": "User and Client registered successfully!",
        "user": {name: body[name] for name in shown},
    }
    body |= {"newRegistration": False, "name": None, "language": None}
    answer = succeed(http, Call(f"/register/{user.realm}", body), zipped=zipped)
    assert (answer["user"]["name"], answer["user"]["language"]) == ("Zoë 😀", "it")  # as stored: the client shows it


MESSAGES = {
    "known": "The email is already registered",
    "unknown": "email is not registered",
    "wrong password": "Wrong username or password",
}


@pytest.mark.parametrize("zipped", ZIPPED)
def test_the_refusals_of_register_that_clients_know(http: Http, new_user: NewUser, zipped: bool) -> None:
    user, other = new_user(), new_user()
    phone, taken = user.device(), other.device()
    made = CALLS["register"](phone)
    fresh = "6f9619ff-8b86-4d01-b42d-" + user.email[:12]
    bodies: dict[str, dict[str, Any]] = {
        "known": {"newRegistration": True, "clientId": fresh},
        "unknown": {"email": f"not-{user.email}", "clientId": fresh},
        "wrong password": {"password": "wrong", "clientId": fresh},
        "taken": {"clientId": taken.client_id},
    }
    messages = set()
    for name, changed in bodies.items():
        answer = send(http, Call(made.path, {**made.body, **changed}), zipped=zipped)
        assert answer.status_code not in (200, 403, 404)
        assert MESSAGES.get(name, "clientId") in answer.json()["message"]
        messages.add(answer.json()["message"])
    assert len(messages) == 4


@pytest.mark.parametrize("zipped", ZIPPED)
@pytest.mark.parametrize("call", ["login", "refreshToken"])
def test_login_and_refresh(http: Http, user: User, call: str, zipped: bool) -> None:
    phone = user.device()
    phone.login()
    before = time.time()
    answer = succeed(http, CALLS[call](phone), zipped=zipped)
    assert answer.keys() == {
        *("token_type", "access_token", "refresh_token", "expires_in", "expires_on", "accessToken", "refreshToken")
    }
    assert answer["token_type"] == "Bearer"
    assert answer["access_token"] == answer["accessToken"] != answer["refreshToken"] == answer["refresh_token"]
    assert answer["expires_in"] == 86_400
    assert abs(answer["expires_on"] / 1000 - before - 86_400) < 60
    pull = Call("/pull/main", {"lastSync": 0}, f"Bearer {answer['accessToken']}")
    assert send(http, pull, zipped=zipped).status_code == 200


@pytest.mark.parametrize("zipped", ZIPPED)
def test_a_whole_sync(http: Http, user: User, zipped: bool) -> None:
    phone, tablet = user.device(), user.device()
    tablet.insert("todos", "of the tablet", {"title": "milk"})
    tablet.sync()
    answer = succeed(http, CALLS["pull, client in the path"](phone), zipped=zipped)
    clock = user.clock
    assert answer == {
        "clientId": phone.client_id,
        "lastSync": clock,
        "outdatedRowsGuid": [],
        "data": [
            {
                "operation": "I",
                "rowguid": "of the tablet",
                "tablename": "todos",
                "clientdate": user.rows()["todos", "of the tablet"]["client_date"],
                "serverdate": clock,
                "clientid": tablet.client_id,
                "rowData": {"rowguid": "of the tablet", "title": "milk"},
            }
        ],
    }
    part = phone.body([change("I", "1", 1, {"title": "bread"})], 1, 0)
    path = f"/push/main/{phone.client_id}"
    assert succeed(http, Call(path, part, bearer(phone)), zipped=zipped) == {"lastSync": None}
    end = phone.body([change("D", "of the tablet", 9 * 10**12)], 0, 0)
    assert succeed(http, Call(path, end, bearer(phone)), zipped=zipped) == {"lastSync": user.clock}
    done(succeed(http, CALLS["cancelSync"](phone), zipped=zipped))
    [deleted] = (row for row in tablet.pull([], clock)["data"] if row["operation"] == "D")
    assert deleted["rowData"] is None


@pytest.mark.parametrize("zipped", ZIPPED)
def test_a_forgotten_password(http: Http, world: World, zipped: bool) -> None:
    phone = world.phone
    done(succeed(http, CALLS["forgotten"](phone), zipped=zipped))
    unknown = Call("/password/main/forgotten", {"email": "nobody@example.com"})
    assert succeed(http, unknown, zipped=zipped) == succeed(http, CALLS["forgotten"](phone), zipped=zipped)
    for name, password in (("password", "new 1"), ("newPassword", "new 2")):
        body = {"email": phone.state.email, "pin": pin_of(world), name: password}
        done(succeed(http, Call("/password/main/change", body), zipped=zipped))
        phone.state.password = password
        assert http.post("/login/main", {"clientId": phone.client_id}, basic(phone)).status_code == 200
        world.user.connection.execute(
            "UPDATE sync.pins SET created = created - 3600000 WHERE user_id = %s", (world.user.space_id,)
        )
        done(succeed(http, CALLS["forgotten"](phone), zipped=zipped))


@pytest.mark.parametrize("zipped", ZIPPED)
@pytest.mark.parametrize("everything", [False, True])
def test_unregister(http: Http, user: User, everything: bool, zipped: bool) -> None:
    made = CALLS["unregister"](user.device())
    made.body["deleteRemoteData"] = everything
    done(succeed(http, made, zipped=zipped))
    left = user.connection.execute("SELECT 1 FROM sync.users WHERE email = %s", (user.email,)).fetchall()
    assert len(left) == (0 if everything else 1)
