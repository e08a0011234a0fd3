"""How long an answer takes tells nothing. With bcrypt at 10 rounds, so that a missing hash would show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from accounts.calls import Phone, Reply
from accounts.conftest import Own, Serve
from accounts.test_login import adopted, set_hash
from wire import new_email

TRIES = 40
Measure = Callable[[Callable[[], Reply]], float]
ALIKE = 1.6
"""Times that differ by less are taken for the same: a hash that is missing, or one too many, differs by a factor of two,
and a busy machine by a good part of that even at its best."""


@pytest.fixture(scope="module")
def slow(serve: Serve) -> Own:
    return serve(bcrypt_rounds=10)


def seconds(work: Callable[[], Reply]) -> float:
    return work().seconds


def spent(server: Own, work: Callable[[], Reply]) -> float:
    """Seconds of a processor that the server spends on a call that waits for nothing else: a busy machine adds little to
    them. Where the system does not tell, the seconds until the answer.
    """
    tasks = Path(f"/proc/{server.process.pid}/task")

    def so_far() -> int:
        return sum(int(task.read_text().split()[0]) for task in tasks.glob("*/schedstat"))

    before, waited = so_far(), seconds(work)
    return (so_far() - before) / 1e9 if before else waited


def assert_alike(at_least: float, *works: Callable[[], Reply], measure: Measure = seconds) -> None:
    """Each of the calls takes the same time, and at least so many seconds.

    What counts is the shortest of several tries, in turns, as for whoever listens: what a busy machine or network adds comes
    and goes. Further tries only help where the difference was of that kind.
    """
    shortest = [float("inf")] * len(works)
    for tries in range(TRIES):
        shortest = [min(best, measure(work)) for best, work in zip(shortest, works, strict=True)]
        if tries >= 2 and max(shortest) < ALIKE * min(shortest):
            break
    assert max(shortest) < ALIKE * min(shortest), shortest
    assert min(shortest) >= at_least


def test_every_wrong_login_takes_the_same_time(slow: Own) -> None:
    phone, inactive, moved = (slow.calls.registered() for _ in range(3))
    slow.database.execute("UPDATE sync.users SET active = false WHERE email = %s", (inactive.email,))
    set_hash(slow.database, moved, adopted(moved.password, "salt"))
    wrong = [replace(phone, password="wrong"), Phone(), inactive, phone.another(), replace(moved, password="wrong")]
    assert_alike(0.02, *[partial(slow.calls.login, each) for each in wrong], measure=partial(spent, slow))


def test_every_wrong_pin_takes_the_same_time(slow: Own) -> None:
    phone = slow.calls.registered()
    slow.calls.forgotten(phone.email).ok  # noqa: B018 - asserts
    wrong = "000000" if slow.outbox.pin(phone.email) != "000000" else "111111"
    emails = [phone.email, new_email(), slow.calls.registered().email]
    works = [partial(slow.calls.change, email, wrong, "new") for email in emails]
    assert_alike(0.1, *works)


def test_what_is_known_to_be_wrong_is_not_hashed_again(serve: Serve) -> None:
    """Or one phone with an old password, or one guesser of PINs, holds up everybody's logins."""
    own = serve(bcrypt_rounds=13, limits=True)
    phone, nobody = own.calls.registered(), Phone()
    for one in (replace(phone, password="wrong"), nobody):
        first, *others = (own.calls.login(one).seconds for _ in range(4))
        assert sorted(others)[1] < first / 4
    login = own.calls.login(phone)
    assert login.error == "ok"
    assert own.calls.change(phone.email, "123456", "new").seconds < login.seconds


def test_a_password_that_was_wrong_once_is_tried_again_when_it_has_become_right(serve: Serve) -> None:
    own = serve(limits=True)
    phone = own.calls.registered()
    later = replace(phone, password="later")
    assert own.calls.login(later).error == "login_rejected"
    own.calls.forgotten(phone.email).ok  # noqa: B018 - asserts
    assert own.calls.change(phone.email, own.outbox.pin(phone.email), "later").error == "ok"
    assert own.calls.login(later).error == "ok"


def test_every_demand_for_a_pin_takes_the_same_time(slow: Own) -> None:
    known = (slow.calls.registered() for _ in range(TRIES))
    assert_alike(0.25, lambda: slow.calls.forgotten(next(known).email), lambda: slow.calls.forgotten(new_email()))
