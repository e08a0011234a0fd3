"""Mails go out: encrypted as configured, at once when woken, and in every other respect as they should."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from mail.conftest import PASSWORD, House, Logged, Offices, Queue
from sync_server.mail.pace import Pace

RUNNERS = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """The server runs on uvloop; asyncio's own loop is what it falls back to."""
    runner: Callable[[Coroutine[Any, Any, None]], None] = RUNNERS[request.param]
    return runner


def test_a_waiting_mail_goes_out_and_leaves_the_queue(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    office = open_office()
    queued = queue.add(name="Ann")

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    [received] = office.received
    assert (received.sender, received.recipients) == ("noreply@example.org", [queued.email])
    assert received.message["subject"] == "Your PIN for ToDos"
    for part in (received.part("plain"), received.part("html")):
        assert queued.pin in part
        assert "ToDos" in part
        assert "Hello Ann," in part
        assert "15 minutes" in part
    [entry] = logged.of("mail_sent")
    assert (entry["realm"], entry["mail"], entry["tries"]) == ("main", str(queued.id), 1)


def test_waking_sends_at_once_and_returns_at_once(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office()

    async def work() -> None:
        async with house.mailer(house.config(office), Pace(watching=3600.0)) as running:
            counts = running.realm().counts
            await running.until(lambda: counts["calls"] == 2)  # the first look, which finds nothing
            queue.add()
            running.wake()
            assert not office.received
            await running.until(lambda: office.received)

    asyncio.run(work())


def test_an_idle_realm_is_looked_at_once(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office()

    async def work() -> None:
        async with house.mailer(house.config(office), Pace(watching=0.02, shortest=0.01)) as running:
            counts = running.realm().counts
            await running.until(lambda: counts["calls"] == 2)  # what is due, and when the next is
            await asyncio.sleep(0.5)
            assert counts["calls"] == 2
            queue.add()
            await asyncio.sleep(0.3)
            assert not office.received
            running.wake()
            await running.until(lambda: office.received)

    asyncio.run(work())


def test_a_realm_that_had_mail_is_watched(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office()
    queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())
            await asyncio.sleep(0.2)
            queue.add()  # by another process, which dies before it has sent it
            await running.until(lambda: len(office.received) == 2)

    asyncio.run(work())


def test_mails_that_are_due_together_share_a_connection(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office()
    queued = [queue.add() for _ in range(5)]

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert {received.recipients[0] for received in office.received} == {each.email for each in queued}
    assert {received.connection for received in office.received} == {1}


def test_a_connection_that_the_server_ends_is_opened_anew(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    office = open_office(answers={"MAIL": deque([None, "421 4.7.0 enough for one connection, {}"])})
    for _ in range(3):
        queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert len(office.received) == 3
    assert [entry["tries"] for entry in logged.of("mail_sent")] == [1, 1, 1]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("office", "email"),
    [
        ({"starttls": True}, {"security": "starttls"}),
        ({"tls": True}, {"security": "tls"}),
        ({"starttls": True}, {"security": "auto"}),
        ({"starttls": True, "login": ("ann", PASSWORD)}, {"security": "auto", "username": "ann"}),
        ({"tls": True, "login": ("änn", PASSWORD)}, {"security": "tls", "username": "änn"}),
    ],
)
def test_mail_is_encrypted_and_logged_in(
    house: House,
    queue: Queue,
    open_office: Offices,
    run: Callable[[Coroutine[Any, Any, None]], None],
    office: dict[str, Any],
    email: dict[str, Any],
) -> None:
    post_office = open_office(**office)
    queued = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(post_office, **email)) as running:
            await running.until(lambda: not queue.mails())

    run(work())
    [received] = post_office.received
    assert received.encrypted
    assert received.login == email.get("username")
    assert queued.pin in received.part("plain")


@pytest.mark.parametrize("office", [{}, {"login": ("ann", PASSWORD)}])
def test_plain_is_for_those_who_say_so(
    house: House, queue: Queue, open_office: Offices, office: dict[str, Any]
) -> None:
    post_office = open_office(starttls=not office, **office)
    queue.add()
    email = {"username": "ann"} if office else {}

    async def work() -> None:
        async with house.mailer(house.config(post_office, security="plain", **email)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert not post_office.received[0].encrypted
    assert post_office.received[0].login == email.get("username")


@pytest.mark.parametrize(
    ("office", "email", "error"),
    [
        # a server, or somebody on the way to it, that does not offer what was demanded
        ({}, {"security": "starttls"}, "STARTTLS not offered"),
        ({"login": ("ann", PASSWORD)}, {"security": "auto", "username": "ann"}, "STARTTLS not offered"),
        ({"starttls": True}, {"security": "tls"}, "SMTPConnectError (SSLError)"),
        # a certificate of an unknown authority
        ({"starttls": True}, {"security": "starttls"}, "SSLCertVerificationError"),
        ({"starttls": True}, {"security": "auto"}, "SSLCertVerificationError"),
        ({"tls": True}, {"security": "tls"}, "SMTPConnectError (SSLCertVerificationError)"),
    ],
)
def test_nothing_is_sent_in_the_open_instead(
    house: House, queue: Queue, open_office: Offices, office: dict[str, Any], email: dict[str, Any], error: str
) -> None:
    post_office = open_office(**office)
    queued = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(post_office, **email)) as running:
            await running.until(lambda: post_office.connections >= 2)

    asyncio.run(work())
    assert not post_office.received
    assert not post_office.commands  # neither a login nor an address
    row = queue.row(queued)
    assert row
    assert (row["last_error"], row["tries"]) == (error, 0)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_host_is_refused(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office(tls=True)
    queued = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office, security="tls", smtp="127.0.0.1")) as running:
            await running.until(lambda: (queue.row(queued) or {})["last_error"])

    asyncio.run(work())
    assert not office.received


@pytest.mark.usefixtures("trusted")
def test_a_wrong_login_keeps_the_mail_and_tells_no_password(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    office = open_office(starttls=True, login=("ann", "another password"))
    queued = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office, username="ann")) as running:
            await running.until(lambda: (queue.row(queued) or {})["last_error"])
            office.login = ("ann", PASSWORD)
            await running.until(lambda: office.received)

    asyncio.run(work())
    assert logged.of("mail_postponed")[0]["error"] == "SMTPAuthenticationError 535"
    assert "email.password" in logged.of("mail_postponed")[0]["hint"]


def test_realms_that_share_a_database_keep_their_names(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office()
    house.urls["notes"] = house.urls["main"]
    apps = {"main": "ToDos", "notes": "Notes"}
    expected = {queue.add(realm=realm).email: f"Your PIN for {apps[realm]}" for realm in ["main"] * 5 + ["notes"] * 5}

    async def work() -> None:
        async with house.mailer(house.config(office, apps=apps)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert {received.recipients[0]: received.message["subject"] for received in office.received} == expected


@pytest.mark.parametrize(
    ("language", "subject"),
    [("it", "Il tuo PIN per ToDos"), ("it_IT", "Il tuo PIN per ToDos"), ("xx", "Your PIN for ToDos")],
)
def test_the_user_s_language_is_used(
    house: House, queue: Queue, open_office: Offices, language: str, subject: str
) -> None:
    office = open_office()
    queue.add(language=language)

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: office.received)

    asyncio.run(work())
    assert office.received[0].message["subject"] == subject


def test_an_address_beyond_ascii_takes_smtputf8(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office(smtputf8=True)
    queued = queue.add("ännchen@müller.example", name="Ännchen")

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    [received] = office.received
    assert received.recipients == ["ännchen@xn--mller-kva.example"]
    assert "SMTPUTF8" in received.options
    assert queued.pin in received.part("plain")


@pytest.mark.parametrize("address", ["ännchen@example.com", "ann@", "@example.com", "a\tb@example.com", "ann@exa mple"])
def test_an_address_that_no_mail_can_go_to_is_given_up_without_naming_it(
    house: House, queue: Queue, open_office: Offices, logged: Logged, address: str
) -> None:
    office = open_office(smtputf8=False)
    queue.add(address)
    other = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert [received.recipients for received in office.received] == [[other.email]]
    assert len(logged.of("mail_dropped")) == 1
