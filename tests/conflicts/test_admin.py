"""The admin API when a commit meets a conflict, or its answer is lost: done once, told once, and the same answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from admin.people import PASSWORD, Person, make
from conflicts.injector import Fault, Kind
from conflicts.scenarios import World
from sync_server.accounts.roles import Role

Make = Callable[[], Any]
"""Makes one call, which is the same each time."""


@dataclass
class Desk:
    """Where somebody works with the API."""

    world: World
    http: httpx.Client


@pytest.fixture(scope="module")
def desk(world: World) -> Iterator[Desk]:
    with httpx.Client(base_url=world.url, timeout=60) as http:
        yield Desk(world, http)


def person(desk: Desk, role: str = "admin") -> Person:
    found = make(desk.http, desk.world.database, "main", Role(role))
    return found.signed_in() if role != "user" else found


def creating(desk: Desk) -> Make:
    admin, body = person(desk), {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
    return lambda: admin.call("POST", admin.users(), json=body, headers={"Idempotency-Key": body["email"]})


def inviting(desk: Desk) -> Make:
    admin, body = person(desk), {"email": f"{uuid4().hex}@example.com", "invite": True}
    return lambda: admin.call("POST", admin.users(), json=body)


def updating(desk: Desk) -> Make:
    admin, other = person(desk), person(desk, "user")
    tag = admin.call("GET", admin.users(f"/{other.id}")).headers["ETag"]
    body = {"name": "Zoe", "active": False}
    return lambda: admin.call("PATCH", admin.users(f"/{other.id}"), json=body, headers={"If-Match": tag})


def deleting(desk: Desk) -> Make:
    admin, other = person(desk), person(desk, "user")
    return lambda: admin.call("DELETE", admin.users(f"/{other.id}"))


def signing_in(desk: Desk) -> Make:
    return person(desk).login


def signing_out(desk: Desk) -> Make:
    admin = person(desk)
    return lambda: admin.call("POST", "/auth/logout")


def renewing(desk: Desk) -> Make:
    admin = person(desk)
    return lambda: admin.http.post("/api/v1/auth/refresh", json={"refresh_token": admin.refresh})


def ending(desk: Desk) -> Make:
    admin = person(desk)
    identity = admin.get("/auth/me")["session_id"]
    admin.signed_in()
    return lambda: admin.call("DELETE", f"/auth/sessions/{identity}")


def ending_others(desk: Desk) -> Make:
    admin = person(desk).signed_in()
    return lambda: admin.call("POST", "/auth/sessions/end-others")


def told(world: World) -> int:
    [found] = world.database.execute("SELECT count(*) FROM sync.audit_lines").fetchall()
    count = found["count"]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("kind", ["conflict", "cut after"])
@pytest.mark.parametrize(
    "ready", [creating, inviting, updating, deleting, signing_in, signing_out, renewing, ending, ending_others]
)
def test_at_each_commit_nothing_is_done_or_told_twice(desk: Desk, ready: Callable[[Desk], Make], kind: Kind) -> None:
    world, call = desk.world, ready(desk)
    world.injector.arm()
    before = told(world)
    expected = call()
    assert expected.is_success, expected.text
    lines = told(world) - before
    steps = [step for step in world.injector.steps if step.startswith("COMMIT") and "mail" not in step]
    assert steps
    for step in set(steps):
        call = ready(desk)
        fault = Fault(kind, step)
        world.injector.arm(fault)
        before = told(world)
        answer = call()
        world.injector.arm()
        assert fault.fired == 1, step
        assert answer.status_code == expected.status_code, (step, answer.text)
        assert answer.json().keys() == expected.json().keys()
        assert told(world) - before == lines, step
