"""The short way past Litestar and the way through it answer the same. A slash at the end of a path leads to the latter."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from device import Device
from routes.calls import CALLS, Http
from users import NewUser

HOT = ["refreshToken", "pull", "pull, client in the path", "push", "push, client in the path", "cancelSync"]
OWN = {"date", "x-request-id", "content-length", "transfer-encoding"}
"""Headers that differ from answer to answer."""
ASKED_BEFORE = {"access-control-allow-headers", "access-control-allow-methods"}
"""Litestar gives them again with each answer; browsers look at those of the preflight (Fetch standard, 4.8)."""


def look(answer: httpx.Response) -> tuple[object, ...]:
    headers = {name: value for name, value in answer.headers.items() if name not in OWN | ASKED_BEFORE}
    return answer.status_code, headers, sorted(answer.json()), answer.headers.get("vary")


@pytest.fixture
def fresh(new_user: NewUser) -> Callable[[], Device]:
    """Devices of users that have the same rows, so many that answers are gzipped, and have pulled."""

    def make() -> Device:
        user = new_user()
        writer, phone = user.device(), user.device()
        writer.insert("todos", "row", {"note": "x" * 2000})
        writer.sync()
        phone.login()
        return phone

    return make


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("call", HOT)
def test_both_ways_answer_the_same(http: Http, fresh: Callable[[], Device], call: str, encoding: str) -> None:
    looks = []
    for end in ("", "/"):
        phone = fresh()
        made = CALLS[call](phone)
        if call.startswith("push"):
            http.post(f"/pull/{phone.realm}", {"lastSync": 0}, made.authorization)
        answer = http.post(made.path + end, made.body, made.authorization, Accept_Encoding=encoding)
        assert answer.status_code == 200, answer.text
        looks.append(look(answer))
    assert looks[0] == looks[1]


@pytest.mark.parametrize("call", HOT)
def test_what_is_called_most_takes_the_short_way(http: Http, fresh: Callable[[], Device], call: str) -> None:
    """What goes wrong on it is answered by Litestar, and so well that nobody would notice but by the time that it takes."""
    litestars = []
    for end in ("", "/"):
        phone = fresh()
        made = CALLS[call](phone)
        if call.startswith("push"):
            pulled = http.post(f"/pull/{phone.realm}{end}", {"lastSync": 0}, made.authorization)
            assert bool(ASKED_BEFORE & pulled.headers.keys()) is bool(end)
        answer = http.post(made.path + end, made.body, made.authorization)
        assert answer.status_code == 200, answer.text
        litestars.append(answer.headers.keys() >= ASKED_BEFORE)
    assert litestars == [False, True], "only Litestar gives these headers"
