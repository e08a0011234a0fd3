"""Limits: guessing is stopped, and an honest device never meets one.

Each test calls from loopback addresses of its own, so that none counts for another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from accounts.calls import Calls, Phone, Reply, at_once
from accounts.conftest import Callers, Own, Serve
from accounts.holding import overtake
from users import Connection

PROXY = "127.0.0.2"
PER_ADDRESS_AND_ACCOUNT, PER_ACCOUNT, PER_ADDRESS = 20, 100, 300
CONNECTIONS = 20
"""Of a server to its database, by default."""


@pytest.fixture(scope="module")
def limited(serve: Serve) -> Own:
    return serve(limits=True, trusted_proxies=[PROXY])


@pytest.fixture
def callers(limited: Own) -> Iterator[Callers]:
    callers = Callers(limited.url)
    yield callers
    callers.close()


@pytest.fixture
def caller(callers: Callers) -> Calls:
    return callers.new()


@pytest.fixture
def phone(callers: Callers) -> Phone:
    return callers.new().registered()


def guesses(phone: Phone, first: int, number: int) -> list[Phone]:
    return [Phone(phone.email, f"guess {guess}", phone.client_id) for guess in range(first, first + number)]


def spray(call: Callable[[Phone], Reply], times: int) -> list[Reply]:
    """Make the call for that many new phones, each with an address of its own, eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: patiently(call, Phone(password="123456")), range(times)))


def patiently(call: Callable[[Phone], Reply], phone: Phone) -> Reply:
    """Come again a few times where the database had too many conflicts, as it may have when it is serializable."""
    answer = call(phone)
    for _ in range(5):
        if answer.status != 503:
            break
        answer = call(phone)
    return answer


def errors(answers: list[Reply]) -> Counter[str]:
    return Counter(answer.error for answer in answers)


def test_guessing_is_stopped_and_the_refusal_says_the_limit(callers: Callers, caller: Calls, phone: Phone) -> None:
    answers = [caller.login(guess) for guess in guesses(phone, 0, PER_ADDRESS_AND_ACCOUNT)]
    assert errors(answers) == {"login_rejected": PER_ADDRESS_AND_ACCOUNT}
    for guess in (*guesses(phone, 100, 3), phone):
        answer = caller.login(guess)
        assert (answer.status, answer.error) == (429, "too_many_attempts")
        assert "at most 20 are allowed in 15 minutes" in answer.message
        assert answer.headers["Retry-After"] == "900"
    assert callers.new().login(phone).error == "ok"


def test_an_unknown_address_is_limited_like_a_known_one(caller: Calls) -> None:
    nobody = Phone()
    answers = [caller.login(guess) for guess in guesses(nobody, 0, PER_ADDRESS_AND_ACCOUNT + 1)]
    assert [answer.status for answer in answers] == [403] * PER_ADDRESS_AND_ACCOUNT + [429]


def test_guessing_from_many_addresses_is_stopped_for_the_account_alone(callers: Callers, phone: Phone) -> None:
    other = callers.new().registered()
    for first in range(0, PER_ACCOUNT, PER_ADDRESS_AND_ACCOUNT):
        caller = callers.new()
        assert {caller.login(guess).status for guess in guesses(phone, first, PER_ADDRESS_AND_ACCOUNT)} == {403}
    last = callers.new()
    assert last.login(phone).status == 429
    assert "at most 100" in last.login(phone).message
    assert last.login(other).error == "ok"


def test_one_password_for_many_accounts_is_stopped_for_the_address(
    callers: Callers, caller: Calls, phone: Phone
) -> None:
    assert {answer.status for answer in spray(caller.login, PER_ADDRESS)} == {403}
    assert caller.login(phone).status == 429
    assert callers.new().login(phone).error == "ok"


def test_guesses_sent_at_the_same_time_are_not_tried_beyond_the_limit(caller: Calls, phone: Phone) -> None:
    """All of them have passed the check before the first one has been counted."""
    answers = at_once(*[partial(caller.login, guess) for guess in guesses(phone, 0, 60)])
    counted = errors(list(answers))
    assert counted.keys() == {"login_rejected", "too_many_attempts"}
    # those that are counted at the very same time do not see each other: as many as the server has connections
    assert counted["login_rejected"] <= PER_ADDRESS_AND_ACCOUNT + CONNECTIONS
    assert caller.login(phone).status == 429


def test_a_right_guess_that_was_overtaken_by_others_opens_nothing(limited: Own, caller: Calls, phone: Phone) -> None:
    """It has passed the check before they were counted; the lock holds it up between the check and its hash."""
    before = keys_counted(limited)
    caller.login(guesses(phone, 0, 1)[0])
    mine = list(keys_counted(limited) - before)

    def count_others() -> None:
        count = (
            "INSERT INTO sync.attempts SELECT key, md5(n::text), expires FROM sync.attempts, generate_series(1, 20) n"
        )
        limited.database.execute(f"{count} WHERE key = ANY(%s)", (mine,))

    lock = "LOCK TABLE sync.users IN ACCESS EXCLUSIVE MODE"
    answer = overtake(limited.config["db"]["realms"]["main"], lock, partial(caller.login, phone), count_others)
    assert answer.status == 429


def keys_counted(limited: Own) -> set[str]:
    return {row["key"] for row in limited.database.execute("SELECT key FROM sync.attempts")}


def test_no_call_that_takes_a_password_is_a_way_around(callers: Callers, caller: Calls, phone: Phone) -> None:
    """They count together, wherever the password is tried."""
    token = callers.new().login(phone).access
    wrong = guesses(phone, 0, PER_ADDRESS_AND_ACCOUNT)
    answers = [caller.register(guess.another(), new=False) for guess in wrong[:5]]
    answers += [caller.register(guess.another(), new=None) for guess in wrong[5:10]]
    answers += [caller.register(guess, new=True) for guess in wrong[10:15]]
    answers += [caller.unregister(guess, token) for guess in wrong[15:]]
    refusals = {"registration_rejected": 10, "email_taken": 5, "password_rejected": 5}
    assert errors(answers) == refusals
    right = [
        caller.login(phone),
        caller.register(phone.another(), new=False),
        caller.register(phone.another(), new=None),
    ]
    right += [caller.register(phone), caller.unregister(phone, token), caller.unregister(phone, token, data=True)]
    assert [answer.status for answer in right] == [429] * 6
    assert callers.new().login(phone).error == "ok"


def test_an_honest_device_with_an_outdated_password_is_never_limited(callers: Callers, phone: Phone) -> None:
    """It sends the same wrong password at every sync, each call twice; others of the user sit behind the same address."""
    home = callers.new()
    other = home.joined(phone)
    outdated = Phone(phone.email, "outdated", phone.client_id)
    stale = "stale." * 20
    for _ in range(120):
        assert {home.refresh(stale).status, home.login(outdated).status, home.login(outdated).status} == {403}
    assert home.login(other).error == "ok"
    assert home.login(phone).error == "ok"


def test_refreshes_are_never_limited_even_beside_somebody_who_tries_tokens(caller: Calls, phone: Phone) -> None:
    token = caller.login(phone).refresh
    assert {answer.status for answer in spray(lambda each: caller.refresh(each.email), PER_ADDRESS)} == {403}
    assert caller.refresh("one more").status == 429
    for _ in range(200):
        answer = caller.refresh(token)
        assert answer.error == "ok"
        token = answer.refresh
    assert caller.cancel(phone, answer.access).error == "ok"


def test_successful_logins_and_syncs_are_never_limited(caller: Calls) -> None:
    phone = caller.registered()
    for _ in range(120):
        assert caller.login(phone).error == "ok"
    assert caller.register(phone).error == "ok"


def test_leaving_does_not_begin_the_count_of_the_address_anew(callers: Callers, caller: Calls, phone: Phone) -> None:
    """Or whoever guesses would register and leave now and then."""
    assert {answer.status for answer in spray(caller.login, PER_ADDRESS - 1)} == {403}
    own = callers.new().registered()
    assert caller.unregister(own, caller.login(own).access, data=True).error == "ok"
    assert [caller.login(Phone()).status for _ in range(2)] == [403, 429]
    assert caller.login(phone).status == 429


def test_the_counts_end_with_their_time(limited: Own, caller: Calls, phone: Phone) -> None:
    for guess in guesses(phone, 0, PER_ADDRESS_AND_ACCOUNT):
        caller.login(guess)
    assert caller.login(phone).status == 429
    limited.database.execute("UPDATE sync.attempts SET expires = expires - 15 * 60000")
    assert caller.login(phone).error == "ok"
    assert caller.login(guesses(phone, 0, 1)[0]).status == 403


def test_the_counts_tell_nothing_about_whom_they_count(limited: Own, caller: Calls, phone: Phone) -> None:
    caller.login(guesses(phone, 0, 1)[0])
    caller.forgotten(phone.email)
    stored = str(limited.database.execute("SELECT * FROM sync.attempts").fetchall())
    for word in (phone.email, "127.0.", "guess", phone.client_id):
        assert word not in stored


def test_two_servers_of_one_database_count_together(serve: Serve) -> None:
    """So do the workers of one server, which are as separate."""
    keys = {"secret_key": "k" * 32, "secret_key_refresh": "r" * 32}
    one = serve(limits=True, **keys)
    two = serve(limits=True, dsn=one.config["db"]["realms"]["main"], **keys)
    phone = one.calls.registered()
    for number, guess in enumerate(guesses(phone, 0, PER_ADDRESS_AND_ACCOUNT)):
        assert (one, two)[number % 2].calls.login(guess).status == 403
    assert [each.calls.login(phone).status for each in (one, two)] == [429, 429]


def test_workers_count_together(serve: Serve) -> None:
    server = serve("--workers", "2", limits=True)
    phone = server.calls.registered()
    answers = []
    for guess in guesses(phone, 0, PER_ADDRESS_AND_ACCOUNT + 5):
        fresh = Calls(server.url, "main")  # each connection may reach another worker
        answers.append(fresh.login(guess).status)
        fresh.close()
    assert answers == [403] * PER_ADDRESS_AND_ACCOUNT + [429] * 5


def test_limits_can_be_turned_off(calls: Calls, database: Connection) -> None:
    """The shared server of the tests runs with RATE_LIMIT_DISABLE=1."""
    counted = "SELECT count(*) AS counted FROM sync.attempts"
    before = database.execute(counted).fetchone()
    phone = calls.registered()
    assert {calls.login(guess).status for guess in guesses(phone, 0, 60)} == {403}
    assert calls.login(phone).error == "ok"
    assert {calls.forgotten(phone.email).status for _ in range(8)} == {200}
    assert database.execute(counted).fetchone() == before
