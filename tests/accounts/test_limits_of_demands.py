"""Limits on making accounts, on mails and on PINs, and who counts as one caller."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from accounts.calls import Calls, Phone, Reply, at_once
from accounts.conftest import Callers, Own
from accounts.holding import overtake
from accounts.test_limits import PER_ADDRESS_AND_ACCOUNT, PROXY, caller, callers, guesses, limited, phone, spray
from sync_server.accounts.limits import network
from wire import new_email

__all__ = ["caller", "callers", "limited", "phone"]  # fixtures


def minutes_pass(limited: Own) -> None:
    """So that the next demand is one of another minute than those counted so far."""
    limited.database.execute("UPDATE sync.attempts SET item = md5(random()::text) WHERE key LIKE 'forgotten:%'")


@pytest.mark.parametrize("known", [True, False])
def test_mails_are_limited_per_account_and_unknown_addresses_alike(
    limited: Own, callers: Callers, phone: Phone, known: bool
) -> None:
    email = phone.email if known else new_email()
    for _ in range(6):
        assert callers.new().forgotten(email).error == "ok"
        minutes_pass(limited)
    answer = callers.new().forgotten(email)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3600")
    assert "at most 6 are allowed in 60 minutes" in answer.message
    assert callers.new().forgotten(new_email()).error == "ok"


def test_demands_within_a_minute_count_once(caller: Calls, phone: Phone) -> None:
    """They send no second mail; an app that repeats the call, or its user, is not to be punished."""
    answers = at_once(*[partial(caller.forgotten, phone.email)] * 20)
    assert {answer.error for answer in answers} == {"ok"}


def test_mails_are_limited_per_address(callers: Callers, caller: Calls, phone: Phone) -> None:
    answers = at_once(*[partial(caller.forgotten, new_email()) for _ in range(60)])
    assert {answer.error for answer in answers} == {"ok"}
    assert caller.forgotten(phone.email).status == 429
    assert callers.new().forgotten(phone.email).error == "ok"


def test_accounts_are_limited_per_address(callers: Callers, caller: Calls) -> None:
    counted = Counter(answer.status for answer in spray(caller.register, 320))
    assert counted.keys() == {200, 429}
    assert 300 <= counted[200] <= 307  # those that are made at the very same time do not see each other
    assert caller.register(Phone()).status == 429
    stranger = callers.new().registered()
    assert caller.register(stranger.another(), new=False).error == "ok"
    assert caller.login(stranger).error == "ok"


def test_asking_which_addresses_have_an_account_is_limited(callers: Callers, caller: Calls, phone: Phone) -> None:
    """Registering tells; so it does not tell often. The same question again is a client that sends its call twice."""
    unknown = spray(partial(caller.register, new=False), 298)
    assert {answer.error for answer in unknown} == {"email_unknown"}
    assert {caller.register(phone.another()).error for _ in range(5)} == {"email_taken"}
    assert [caller.register(Phone(), new=False).status for _ in range(2)] == [409, 429]
    assert caller.register(callers.new().registered().another()).status == 429
    assert caller.login(phone).error == "ok"


def test_pins_are_limited_per_account_and_unknown_addresses_alike(callers: Callers, phone: Phone) -> None:
    for email in (phone.email, new_email()):
        caller = callers.new()
        answers = [caller.change(email, pin, "new") for pin in range(50)]
        assert {answer.error for answer in answers} == {"pin_rejected"}
        refused = callers.new().change(email, "999999", "new")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "86400")
        assert "at most 50 are allowed in a day" in refused.message


def test_guesses_beyond_the_limit_use_up_the_pins_tries_too(limited: Own, callers: Callers, phone: Phone) -> None:
    """Sent at the same time they have all passed the check; five tries is what the PIN has nevertheless."""
    caller = callers.new()
    for pin in range(1_000_000, 1_000_049):
        caller.change(phone.email, pin, "new")
    caller.forgotten(phone.email).ok  # noqa: B018 - asserts
    right = limited.outbox.pin(phone.email)
    wrong = [f"{(int(right) + number) % 1_000_000:06}" for number in range(1, 11)]
    guesses_at_once = [partial(caller.change, phone.email, pin, "stolen") for pin in wrong]
    dsn = limited.config["db"]["realms"]["main"]
    overtake(dsn, "SELECT 1 FROM sync.pins FOR UPDATE", lambda: at_once(*guesses_at_once), waiting=len(wrong))
    query = "SELECT p.attempts FROM sync.pins p JOIN sync.users u ON u.id = p.user_id WHERE u.email = %s"
    assert limited.database.execute(query, (phone.email,)).fetchone() == {"attempts": 5}


def test_pins_are_limited_per_address(callers: Callers, caller: Calls) -> None:
    answers = [caller.change(new_email(), "123456", "new").status for _ in range(61)]
    assert answers == [403] * 60 + [429]
    assert callers.new().change(new_email(), "123456", "new").status == 403


def test_the_same_wrong_pin_again_counts_once(caller: Calls, phone: Phone) -> None:
    answers = [caller.change(phone.email, "123456", "new") for _ in range(70)]
    assert {answer.error for answer in answers} == {"pin_rejected"}


def guess_from(caller: Calls, phone: Phone, addresses: list[str]) -> list[Reply]:
    """Guesses that say they come from these addresses, one each."""
    each = zip(guesses(phone, 0, len(addresses)), addresses, strict=True)
    return [caller.login(guess, headers={"X-Forwarded-For": address}) for guess, address in each]


def test_a_caller_cannot_choose_its_address(caller: Calls, phone: Phone) -> None:
    answers = guess_from(caller, phone, [f"198.51.100.{number}" for number in range(PER_ADDRESS_AND_ACCOUNT + 2)])
    assert [answer.status for answer in answers] == [403] * PER_ADDRESS_AND_ACCOUNT + [429] * 2


def test_a_trusted_proxy_says_who_calls(callers: Callers, phone: Phone) -> None:
    proxy = callers.at(PROXY)
    many = guess_from(proxy, phone, [f"198.51.100.{number}" for number in range(PER_ADDRESS_AND_ACCOUNT + 2)])
    assert {answer.status for answer in many} == {403}
    other = callers.new().registered()
    one = guess_from(proxy, other, ["203.0.113.7"] * (PER_ADDRESS_AND_ACCOUNT + 1))
    assert [answer.status for answer in one] == [403] * PER_ADDRESS_AND_ACCOUNT + [429]
    assert proxy.login(other, headers={"X-Forwarded-For": "203.0.113.8"}).error == "ok"


def test_what_a_caller_tells_its_proxy_is_not_believed(callers: Callers, phone: Phone) -> None:
    """Proxies append; what stands before the last address comes from the caller."""
    written = [f"198.51.100.{number}, 203.0.113.9" for number in range(PER_ADDRESS_AND_ACCOUNT + 1)]
    assert guess_from(callers.at(PROXY), phone, written)[-1].status == 429


def test_a_network_of_ipv6_is_one_caller(callers: Callers, phone: Phone) -> None:
    """Whoever has one address there has 2^64."""
    proxy = callers.at(PROXY)
    neighbours = [f"2001:db8:0:1::{number:x}" for number in range(PER_ADDRESS_AND_ACCOUNT + 1)]
    assert guess_from(proxy, phone, neighbours)[-1].status == 429
    assert proxy.login(phone, headers={"X-Forwarded-For": "2001:db8:0:2::1"}).error == "ok"


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:0db8:0:0:ffff::", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_who_counts_as_one_caller(address: str, caller: str) -> None:
    assert network(address) == caller
