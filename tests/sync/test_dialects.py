"""The clients in the field that are not the newest one: older versions, the documented shapes, calls in parts."""

from __future__ import annotations

import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from device import PART, Device
from dialects import ChunkedDevice, OldDevice, OldestDevice, ReadmeClient, chunks_of
from users import NewUser, User, at, sync_all
from wire import Answer, Request, Send, encode, new_email


@pytest.mark.parametrize("kind", [OldDevice, OldestDevice])
def test_an_old_client_syncs_with_a_new_one(user: User, kind: type[OldDevice]) -> None:
    old, new = user.join(kind(user.send, user.realm)), user.device()
    old.insert("todos", "old", {"title": "milk"})
    new.insert("todos", "new", {"title": "bread"})
    sync_all(old, new)
    old.update("todos", "new", {"title": "wine"})
    new.delete("todos", "old")
    sync_all(old, new)
    assert old.state.rows == new.state.rows == {("todos", "new"): {"title": "wine"}}


def test_an_old_client_uses_one_token_for_a_day(user: User) -> None:
    calls: list[str] = []

    def note(request: Request, send: Send) -> Answer:
        calls.append(request.path.split("/")[1])
        return send(request)

    old = user.join(OldDevice(user.send, user.realm, transport=note))
    other = user.device()
    for number in range(3):
        old.insert("todos", f"{number}", {"title": "milk"})
        other.insert("notes", f"{number}", {"title": "bread"})
        sync_all(old, other)
    assert calls.count("login") == 1
    assert len(other.state.rows) == len(old.state.rows) == 6
    assert 23.9 < (old.expires - old.clock()) / 3_600_000 <= 24


def test_an_old_client_whose_token_has_expired_gets_another(user: User) -> None:
    old = user.join(OldDevice(user.send, user.realm))
    old.sync()
    first, old.expires = old.state.access, 0
    old.insert("todos", "1", {"title": "milk"})
    old.sync()
    assert old.state.access != first
    assert len(user.rows()) == 1


def test_an_old_client_pushes_in_parts(user: User) -> None:
    old, new = user.join(OldDevice(user.send, user.realm)), user.device()
    for number in range(2 * PART + 1):
        old.insert("todos", f"{number}", {"title": "milk"})
    sync_all(old, new)
    assert new.state.rows == old.state.rows
    assert len(new.state.rows) == 2 * PART + 1


# The README of sync_server_ts


@pytest.fixture
def documented(user: User) -> ReadmeClient:
    client = ReadmeClient(user.send, user.realm)
    answer = client.register(user.email, user.password)
    assert answer["user"]["email"] == user.email
    assert "password" not in answer["user"]
    client.login(user.email, user.password)
    return client


def beside(user: User) -> Device:
    """A device of a user whom the documented client has registered."""
    device = Device(user.send, user.realm)
    device.register(user.email, user.password, new=False)
    return device


def test_a_registration_without_new_registration_makes_the_user_or_adds_the_client(user: User) -> None:
    for _ in range(2):
        ReadmeClient(user.send, user.realm).register(user.email, user.password)
    clients = "SELECT c.id FROM sync.clients c JOIN sync.users u ON u.id = c.user_id WHERE u.email = %s"
    assert len(user.connection.execute(clients, (user.email,)).fetchall()) == 2


@pytest.mark.parametrize("guid", ["guid", "rowguid"])
def test_the_documented_changes_reach_a_device(user: User, documented: ReadmeClient, guid: str) -> None:
    assert documented.pull(0)["data"] == []
    first = documented.push(("todos", "insert", {guid: "1", "title": "milk"}), ("notes", "insert", {guid: "1", "a": 1}))
    device = beside(user)
    device.sync()
    assert {key: row.get("title") for key, row in device.state.rows.items()} == {
        ("todos", "1"): "milk",
        ("notes", "1"): None,
    }
    documented.pull(first["lastSync"])
    documented.push(("todos", "update", {guid: "1", "title": "bread"}), ("notes", "delete", {guid: "1"}))
    device.sync()
    assert {key: row["title"] for key, row in device.state.rows.items()} == {("todos", "1"): "bread"}


def test_a_documented_pull_gets_what_changed_since(user: User, documented: ReadmeClient) -> None:
    device = beside(user)
    device.insert("todos", "1", {"title": "milk"})
    device.sync()
    pulled = documented.pull(0)
    assert [row["rowData"] for row in pulled["data"]] == [{"rowguid": "1", "title": "milk"}]
    cursor = documented.push()["lastSync"]
    device.insert("todos", "2", {"title": "bread"})
    device.sync()
    assert [row["rowguid"] for row in documented.pull(cursor)["data"]] == ["2"]


def test_a_documented_change_without_a_date_is_of_now(user: User, documented: ReadmeClient) -> None:
    """So it wins over an edit of a minute ago that it did not know of."""
    device = beside(user)
    documented.pull(0)
    device.clock = at(device.clock() - 60_000)
    device.insert("todos", "1", {"title": "a minute ago"})
    device.sync()
    documented.push(("todos", "insert", {"guid": "1", "title": "now"}))
    device.sync()
    assert device.state.rows["todos", "1"]["title"] == "now"


# Calls in parts


@pytest.mark.parametrize("size", [5, 64, 10_000])
def test_a_device_that_sends_its_calls_in_parts_syncs_with_the_others(user: User, size: int) -> None:
    chunked = user.join(ChunkedDevice(user.send, user.realm, chunk_size=size, rng=random.Random(size)))
    whole = user.device()
    chunked.insert("todos", "1", {"title": '😀 ünïcode \\ " \n \u0000'})
    whole.insert("todos", "2", {"title": "bread"})
    sync_all(chunked, whole)
    chunked.update("todos", "2", {"title": "wine"})
    sync_all(chunked, whole)
    assert chunked.state.rows == whole.state.rows
    assert chunked.state.rows["todos", "2"] == {"title": "wine"}
    assert len(user.history()) == 3


def chunked_phone(user: User, size: int = 40) -> ChunkedDevice:
    phone = user.join(ChunkedDevice(user.send, user.realm, chunk_size=size))
    phone.fetch_token()
    return phone


def pull_in_parts(phone: ChunkedDevice, sync_id: str | None = None) -> list[Request]:
    chunks = chunks_of(encode(phone.body([], 0, 0)), phone.chunk_size, sync_id or f"{uuid.uuid4()}")
    return [phone.request_of(f"/pull/{phone.realm}/{phone.client_id}", chunk) for chunk in chunks]


def test_parts_are_answered_206_until_the_last_that_is_missing_has_come(user: User) -> None:
    phone = chunked_phone(user)
    first, *others = pull_in_parts(phone)
    number = user.client(phone)["sync_number"]
    answers = [phone.send(request) for request in [*reversed(others), *others, first]]
    assert [answer.status for answer in answers] == [206] * (2 * len(others)) + [200]
    assert all(isinstance(answer.json(), dict) for answer in answers)
    assert answers[-1].json()["clientId"] == phone.client_id
    assert user.client(phone)["sync_number"] == number + 1


def test_nothing_happens_before_the_last_part_has_come(user: User) -> None:
    phone = chunked_phone(user)
    for request in pull_in_parts(phone)[1:]:
        assert phone.send(request).status == 206
    assert user.client(phone)["sync_started"] is None


def test_two_uploads_of_a_device_do_not_mix(user: User) -> None:
    phone = chunked_phone(user)
    one, other = pull_in_parts(phone), pull_in_parts(phone)
    mixed = [request for pair in zip(one, other, strict=True) for request in pair]
    answers = [phone.send(request) for request in mixed]
    assert [answer.status for answer in answers[-2:]] == [200, 200]
    assert answers[-1].json() == answers[-2].json()


def test_uploads_of_two_devices_with_the_same_id_do_not_mix(user: User) -> None:
    phones = [chunked_phone(user), chunked_phone(user)]
    sync_id = f"{uuid.uuid4()}"
    pairs = zip(*(pull_in_parts(phone, sync_id) for phone in phones), strict=True)
    *_, last = [[phone.send(request) for phone, request in zip(phones, pair, strict=True)] for pair in pairs]
    assert [answer.json()["clientId"] for answer in last] == [phone.client_id for phone in phones]


def test_of_parts_that_arrive_at_once_exactly_one_completes_the_call(user: User) -> None:
    phone = chunked_phone(user, size=10)
    for _ in range(5):
        requests = pull_in_parts(phone)
        number = user.client(phone)["sync_number"]
        for request in requests[3:]:
            assert phone.send(request).status == 206
        barrier = threading.Barrier(3)

        def send(request: Request, barrier: threading.Barrier = barrier) -> Answer:
            barrier.wait()
            return phone.send(request)

        with ThreadPoolExecutor(3) as pool:
            assert sorted(answer.status for answer in pool.map(send, requests[:3])) == [200, 206, 206]
        assert user.client(phone)["sync_number"] == number + 1
        phone.cancel()


SPOILT: list[dict[str, Any]] = [
    {"chunks": 0},
    {"chunks": -1},
    {"chunkIndex": 1},
    {"chunkIndex": -1},
    {"chunkIndex": "0"},
    {"chunks": 10**9},
    {"chunks": 10**30},
    {"data": 7},
    {"data": "this is no JSON"},
    {"syncId": None},
    {"syncId": "x" * 10_000},
]


@pytest.mark.parametrize("spoilt", SPOILT, ids=str)
def test_a_part_that_makes_no_call_is_refused(user: User, spoilt: dict[str, Any]) -> None:
    phone = chunked_phone(user, size=10_000)
    [good] = chunks_of(encode(phone.body([], 0, 0)), 10_000, f"{uuid.uuid4()}")
    answer = phone.send(phone.request_of(f"/pull/{phone.realm}/{phone.client_id}", {**good, **spoilt}))
    assert answer.status in (400, 409, 413, 429), answer
    assert answer.message
    assert user.client(phone)["sync_started"] is None
    phone.sync()


# Names and passwords


@pytest.mark.parametrize("password", ["a:b:c", "pässwörd 😀", " ", "x" * 200, "nul\u0000nul"])
def test_any_password_logs_in(new_user: NewUser, password: str) -> None:
    user = new_user()
    user.password = password
    phone = user.device()
    phone.sync()
    phone.login()


def test_a_second_device_learns_the_name_of_its_user(user: User) -> None:
    user.device()
    phone = Device(user.send, user.realm)
    phone.register(user.email, user.password, new=False, name=None)
    assert phone.state.name == "Ann"


def test_a_registration_whose_answer_was_lost_succeeds_again(user: User) -> None:
    sent: list[Request] = []

    def note(request: Request, send: Send) -> Answer:
        sent.append(request)
        return send(request)

    phone = Device(user.send, user.realm, transport=note)
    phone.register(user.email, user.password, new=True)
    assert len(sent) == 1
    assert user.send(sent[0]).status == 200
    phone.sync()


@pytest.mark.parametrize("description", [None, "", "no JSON", '{"name":"Ann\'s phone"}', "{" * 100])
def test_the_language_may_be_null_and_the_description_anything(user: User, description: str | None) -> None:
    body = {
        "name": "Ann",
        "email": new_email(),
        "password": "secret",
        "clientId": f"{uuid.uuid4()}",
        "clientDescription": description,
        "newRegistration": True,
        "language": None,
    }
    answer = user.send(Request(f"/register/{user.realm}", encode(body)))
    assert answer.status == 200, answer
    assert "password" not in answer.json()["user"]
