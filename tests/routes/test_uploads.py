"""Calls in parts: any order, repeated, abandoned, contradicting, bounded; nobody else's parts ever count."""

from __future__ import annotations

import gzip
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from device import Device
from routes.calls import Http, bearer
from routes.conftest import MAX_BODY
from routes.refusals import refusal
from users import NewUser, User, change

MOST = 4  # uploads of a client at once
TURNS = 40


@dataclass
class Upload:
    """A call that a device sends in parts; `size` in characters."""

    http: Http
    device: Device
    call: str
    body: Any
    size: int = 40
    sync_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def text(self) -> str:
        return self.body if isinstance(self.body, str) else json.dumps(self.body)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        pieces = [self.text[start : start + self.size] for start in range(0, len(self.text), self.size)]
        return [
            {"chunkIndex": index, "chunks": len(pieces), "data": piece, "syncId": self.sync_id}
            for index, piece in enumerate(pieces)
        ]

    def send(self, index: int, *, device: Device | None = None, **changed: Any) -> httpx.Response:
        sender = device or self.device
        path = f"/{self.call}/{sender.realm}/{sender.client_id}"
        body = json.dumps({**self.chunks[index], **changed}).encode()
        if index % 2:
            return self.http.post(path, body, bearer(sender))
        return self.http.post(path, gzip.compress(body), bearer(sender), Content_Encoding="gzip")

    def send_all(self, *but: int) -> list[httpx.Response]:
        return [self.send(index) for index in range(len(self.chunks)) if index not in but]


@pytest.fixture
def phone(user: User) -> Device:
    device = user.device()
    device.login()
    return device


def pull(http: Http, phone: Device, **options: Any) -> Upload:
    return Upload(http, phone, "pull", phone.body([], 0, 0), **options)


def push(http: Http, phone: Device, *guids: str, **options: Any) -> Upload:
    changes = [change("I", guid, 1, {"title": f"title of {guid}"}) for guid in guids]
    return Upload(http, phone, "push", phone.body(changes, 0, 0), **options)


def statuses(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


def kept(user: User, device: Device) -> set[tuple[str, str]]:
    found = user.connection.execute("SELECT call, sync_id FROM sync.uploads WHERE client_id = %s", (device.client_id,))
    return {(row["call"], row["sync_id"]) for row in found.fetchall()}


def parts(user: User, upload: Upload) -> int:
    query = "SELECT 1 FROM sync.upload_parts WHERE client_id = %s AND sync_id = %s"
    return len(user.connection.execute(query, (upload.device.client_id, upload.sync_id)).fetchall())


def test_a_whole_sync_in_parts_in_any_order_three_at_a_time(http: Http, user: User, phone: Device) -> None:
    for seed in range(5):
        rng = random.Random(seed)
        for upload in (pull(http, phone), push(http, phone, *(f"{seed}-{number}" for number in range(20)))):
            order = list(range(len(upload.chunks)))
            rng.shuffle(order)
            with ThreadPoolExecutor(3) as pool:
                answers = list(pool.map(upload.send, order))
            assert sorted(statuses(answers)) == [200] + [206] * (len(order) - 1)
        assert len(user.rows()) == 20 * (seed + 1)
        phone.state.cursor = min(answers, key=lambda answer: answer.status_code).json()["lastSync"]


def test_repeated_parts_get_the_same_final_answer(http: Http, user: User, phone: Device) -> None:
    """Before the upload is complete, and after it: an answer may have been lost."""
    begun = pull(http, phone)
    assert statuses([begun.send(0), begun.send(0)]) == [206, 206]
    answers = begun.send_all(0)
    again = [begun.send(index) for index in range(len(begun.chunks))]
    assert {answer.text for answer in [answers[-1], *again]} == {answers[-1].text}
    assert statuses(again) == [200] * len(again)
    stored = push(http, phone, "1", "2")
    answers = stored.send_all()
    history = user.history()
    again = [stored.send(index) for index in range(len(stored.chunks))]
    assert {answer.text for answer in [answers[-1], *again]} == {answers[-1].text}
    assert user.history() == history
    assert len(history) == 2


def test_the_same_answer_as_to_the_call_in_one_piece(http: Http, phone: Device) -> None:
    in_parts = pull(http, phone).send_all()[-1]
    whole = http.post(f"/pull/{phone.realm}", phone.body([], 0, 0), bearer(phone))
    assert in_parts.content == whole.content
    assert in_parts.headers["Content-Type"] == whole.headers["Content-Type"]


def test_a_refused_call_in_parts_is_refused_as_in_one_piece(http: Http, phone: Device) -> None:
    refusal(push(http, phone, "1").send_all()[-1], 409, "pull_first")
    refusal(Upload(http, phone, "pull", "this is no JSON at all, " * 5).send_all()[-1], 400, "malformed_body")
    message = refusal(Upload(http, phone, "pull", {"lastSync": "x", "clientId": None}).send_all()[-1], 400)
    assert "`$.lastSync`" in message


def test_an_upload_that_was_thrown_away_begins_anew(http: Http, user: User, phone: Device) -> None:
    abandoned = pull(http, phone)
    abandoned.send_all(0)
    user.connection.execute("DELETE FROM sync.uploads WHERE sync_id = %s", (abandoned.sync_id,))
    assert parts(user, abandoned) == 0
    assert abandoned.send(0).status_code == 206
    assert abandoned.send_all(0)[-1].status_code == 200


def test_several_uploads_at_once_do_not_mix(http: Http, user: User, phone: Device) -> None:
    pull(http, phone).send_all()
    uploads = [push(http, phone, *(f"{number}-{row}" for row in range(9))) for number in range(MOST)]
    with ThreadPoolExecutor(MOST) as pool:
        answers = list(pool.map(lambda upload: upload.send_all(), uploads))
    finals = sorted(answer[-1].status_code for answer in answers)
    # the first that is complete ends the sync; the others find none, and are whole nevertheless
    assert finals == [200, 409, 409, 409]
    assert all(set(statuses(answer[:-1])) == {206} for answer in answers)
    stored = {guid.split("-")[0] for _, guid in user.rows()}
    assert len(stored) == 1
    assert len(user.rows()) == 9


def test_the_oldest_of_too_many_gives_way_and_the_device_goes_on(http: Http, user: User, phone: Device) -> None:
    uploads = [pull(http, phone) for _ in range(3 * MOST)]
    for upload in uploads:
        assert upload.send(0).status_code == 206
        assert len(kept(user, phone)) <= MOST
    assert kept(user, phone) == {("pull", upload.sync_id) for upload in uploads[-MOST:]}
    assert uploads[-1].send_all(0)[-1].status_code == 200
    assert set(statuses(uploads[0].send_all(0))) == {206}  # its first part was thrown away
    assert uploads[0].send(0).status_code == 200


def test_the_uploads_of_others_are_not_counted(http: Http, user: User, phone: Device) -> None:
    first = pull(http, phone)
    first.send(0)
    tablet = user.device()
    for _ in range(3 * MOST):
        pull(http, tablet).send(0)
    assert first.send_all(0)[-1].status_code == 200


@pytest.mark.parametrize("changed", [{"data": "something else"}, {"chunks": 99}, {"chunks": 2}])
def test_a_part_that_contradicts_begins_the_upload_anew(
    http: Http, user: User, phone: Device, changed: dict[str, Any]
) -> None:
    upload = pull(http, phone)
    upload.send(0)
    upload.send(2)
    upload.send(1)
    assert upload.send(1, **changed).status_code == 206
    assert parts(user, upload) == 1
    assert 200 in statuses(upload.send_all() + upload.send_all())


def test_an_upload_is_bounded_in_size(http: Http, user: User, phone: Device) -> None:
    text = json.dumps({"lastSync": 0, "filling": "x" * MAX_BODY})
    upload = Upload(http, phone, "pull", text, size=MAX_BODY // 4)
    *fitting, last, _ = range(len(upload.chunks))
    assert set(statuses([upload.send(index) for index in fitting])) == {206}
    assert upload.send(last).status_code == 206
    refusal(upload.send(last + 1), 413, "body_too_large")
    assert parts(user, upload) == len(fitting) + 1
    assert pull(http, phone).send_all()[-1].status_code == 200  # the device is not blocked


def test_an_upload_at_the_limit_is_taken(http: Http, phone: Device) -> None:
    empty = json.dumps({"lastSync": 0, "filling": ""})
    text = empty.replace('""', f'"{"x" * (MAX_BODY - len(empty))}"')
    upload = Upload(http, phone, "pull", text, size=MAX_BODY // 3)
    assert upload.send_all()[-1].status_code == 200


@pytest.mark.parametrize("cut", ["escaped", "as UTF-8"])
def test_a_part_may_end_in_the_middle_of_a_character(http: Http, user: User, phone: Device, cut: str) -> None:
    """Dart cuts between the two halves of a surrogate pair, which JSON can then say only as two escapes."""
    pull(http, phone).send_all()
    row = {"title": "😀😀 é 𝄞", "half": "\ud83d"}
    text = json.dumps(phone.body([change("I", "1", 1, row)], 0, 0), ensure_ascii=cut == "escaped")
    text = text.replace("\ud83d", "\\ud83d") if cut == "as UTF-8" else text
    units = text.encode("utf-16-le")
    pieces = [units[start : start + 2].decode("utf-16-le", "surrogatepass") for start in range(0, len(units), 2)]
    sync_id, path = str(uuid4()), f"/push/{phone.realm}/{phone.client_id}"
    for index, piece in enumerate(pieces):
        body = {"chunkIndex": index, "chunks": len(pieces), "data": piece, "syncId": sync_id}
        answer = http.post(path, body, bearer(phone))
        assert answer.status_code == (206 if index < len(pieces) - 1 else 200), answer.text
    assert json.loads(user.rows()["todos", "1"]["row_data"]) == row


def test_rows_that_look_like_parts_are_rows(http: Http, user: User, phone: Device) -> None:
    pull(http, phone).send_all()
    row = {"chunkIndex": 0, "data": "\ud800", "chunks": 1}
    body = phone.body([change("I", "1", 1, row)], 0, 0)
    assert http.post(f"/push/{phone.realm}", body, bearer(phone)).status_code == 200
    assert json.loads(user.rows()["todos", "1"]["row_data"]) == row


@pytest.mark.parametrize("sync_id", ["\ud800", "\0", "x" * 256, "", 7, "ü" * 255, "a/b'; --"])
def test_the_uploads_name_may_be_any_text_that_can_be_stored(http: Http, phone: Device, sync_id: Any) -> None:
    upload = pull(http, phone, sync_id=sync_id)
    if sync_id in ("\ud800", "\0", "x" * 256):
        assert "`$.syncId`" in refusal(upload.send(0), 400, "invalid_body")
    else:
        assert upload.send_all()[-1].status_code == 200


def test_another_clients_token_adds_nothing_and_completes_nothing(
    http: Http, user: User, stranger: User, phone: Device, new_user: NewUser
) -> None:
    upload = pull(http, phone)
    upload.send_all(0)
    for other in (user.device(), stranger.device(), new_user("other").device()):
        # as itself, with the victim's upload id: an upload of its own
        assert upload.send(0, device=other).status_code == 206
        path = f"/pull/{phone.realm}/{phone.client_id}"
        answer = http.post(path, upload.chunks[0], bearer(other))
        refusal(answer, 403 if other.realm != phone.realm else 400)
    assert parts(user, upload) == len(upload.chunks) - 1
    assert user.client(phone)["sync_started"] is None
    assert upload.send(0).status_code == 200


def test_a_pull_and_a_push_of_the_same_name_do_not_mix(http: Http, phone: Device) -> None:
    one, other = pull(http, phone, sync_id="same"), push(http, phone, "1", sync_id="same")
    one.send_all(0)
    other.send_all(0)
    assert one.send(0).status_code == 200
    assert other.send(0).status_code == 200


def test_of_two_last_parts_that_come_at_once_exactly_one_is_answered_200(http: Http, phone: Device) -> None:
    for _ in range(TURNS):
        upload = pull(http, phone)
        upload.send_all(0, 1)
        both = threading.Barrier(2)

        def send(index: int, upload: Upload = upload, both: threading.Barrier = both) -> int:
            both.wait()
            return upload.send(index).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(send, (0, 1))) == [200, 206]
        phone.cancel()


def test_parts_that_come_while_the_client_unregisters_are_no_mistake_of_the_server(http: Http, user: User) -> None:
    for _ in range(TURNS // 2):
        phone = user.device()
        upload = pull(http, phone)
        indexes = list(range(len(upload.chunks)))
        bearer(phone)
        body = {"email": user.email, "password": user.password, "clientId": phone.client_id}

        def leave(phone: Device = phone, body: dict[str, Any] = body) -> int:
            return http.post(f"/unregister/{phone.realm}", body, bearer(phone)).status_code

        with ThreadPoolExecutor(4) as pool:
            left = pool.submit(leave)
            assert set(statuses(list(pool.map(upload.send, indexes)))) <= {200, 206, 403}
            assert left.result() == 200
