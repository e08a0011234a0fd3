"""Servers that refuse, hang or are away, databases that are down, processes that die: no mail is lost, none leaks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

import psycopg
import pytest

from mail.conftest import QUICK, House, Logged, Offices, Queue
from mail.post_office import Gate, Loop
from postgres import Postgres
from sync_server.mail import queue as queue_rules
from sync_server.mail.pace import Pace
from sync_server.realms import Realms


def test_a_refusal_for_now_is_tried_again(house: House, queue: Queue, open_office: Offices, logged: Logged) -> None:
    office = open_office(answers={"RCPT": deque(["450 4.2.0 <{}> is greylisted"] * 2)})
    queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())
        assert running.mailer.outcomes == {("main", "pin", "failed"): 2, ("main", "pin", "sent"): 1}

    asyncio.run(work())
    assert len(office.received) == 1
    postponed = logged.of("mail_postponed")
    assert [entry["error"] for entry in postponed] == ["SMTPRecipientRefused 450"] * 2
    assert postponed[1]["retry_in"] > 0.1
    assert logged.of("mail_sent")[0]["tries"] == 3


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
def test_a_permanent_refusal_ends_a_mail_at_the_third_time(
    house: House, queue: Queue, open_office: Offices, logged: Logged, command: str
) -> None:
    office = open_office(answers={command: deque(["550 5.1.1 <{}> is unknown here"] * 9)})
    queued = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())
        assert running.mailer.outcomes == {("main", "pin", "failed"): 2, ("main", "pin", "given_up"): 1}

    asyncio.run(work())
    assert not office.received
    assert office.commands.count(command) == 3
    [dropped] = logged.of("mail_dropped")
    assert (dropped["mail"], dropped["tries"]) == (str(queued.id), 3)
    assert dropped["error"].endswith(" 550")


def test_a_permanent_refusal_that_was_none_is_made_good(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office(answers={"RCPT": deque(["550 greylisted, but with the wrong code"] * 2)})
    queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert len(office.received) == 1


def test_one_refused_mail_does_not_hold_up_the_others(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office(answers={"RCPT": deque(["451 not <{}>"])})
    refused, other = queue.add(), queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office), Pace(first=30.0)) as running:
            await running.until(lambda: office.received)

    asyncio.run(work())
    assert [mail["id"] for mail in queue.mails()] == [refused.id]
    assert office.received[0].recipients == [other.email]


def test_a_refused_sender_keeps_all_mails(house: House, queue: Queue, open_office: Offices, logged: Logged) -> None:
    """The configuration is wrong, or a limit is reached: no mail is to blame, however often it was tried."""
    office = open_office(answers={"MAIL": deque(["550 5.7.1 {} may not send"] * 5)})
    queued = [queue.add() for _ in range(3)]

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert {received.recipients[0] for received in office.received} == {each.email for each in queued}
    assert len(logged.of("mail_postponed")) == 5
    assert all("fromEmail" in entry["hint"] for entry in logged.of("mail_postponed"))
    assert {entry["tries"] for entry in logged.of("mail_sent")} == {1}


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_hangs_is_given_up_and_tried_again(
    house: House, queue: Queue, open_office: Offices, logged: Logged, tls: bool
) -> None:
    office = open_office(silent=True)
    queued = queue.add()

    async def work() -> None:
        config = house.config(office, timeout=0.3, security="tls" if tls else "plain")
        async with house.mailer(config) as running:
            await running.until(lambda: (queue.row(queued) or {})["last_error"])
            if tls:
                return
            office.silent = False
            await running.until(lambda: office.received)

    asyncio.run(work())
    assert "Timeout" in logged.of("mail_postponed")[0]["error"]


def test_a_server_that_hangs_in_the_middle_of_a_mail(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    given_up = threading.Event()
    waits = [given_up.wait]
    office = open_office(before_data=lambda: waits and waits.pop()(60))
    queued = [queue.add(), queue.add()]

    async def work() -> None:
        async with house.mailer(house.config(office, timeout=1.5)) as running:
            await running.until(lambda: logged.of("mail_postponed"))
            given_up.set()
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert [entry["error"] for entry in logged.of("mail_postponed")] == ["TimeoutError"]
    # the other one went out meanwhile, on a connection of its own: what the server says late is no answer to it
    assert [entry["tries"] for entry in logged.of("mail_sent")] == [1, 2]
    # nor does it matter whether the server, late as it is, takes what it was sent, or first sees that nobody is there
    assert {received.recipients[0] for received in office.received} == {each.email for each in queued}


def test_a_server_that_is_away_gets_its_mail_when_it_is_back(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    office = open_office()
    office.close()
    queued = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: len(logged.of("mail_postponed")) >= 3)
            office.open()
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert office.received[0].recipients == [queued.email]
    assert logged.of("mail_postponed")[0]["error"] == "SMTPConnectError (ConnectionRefusedError)"
    assert logged.of("mail_sent")[0]["tries"] == 1  # connections that failed were not the mail's


def test_a_server_that_is_away_is_left_alone_for_longer_and_longer() -> None:
    pace = Pace()
    for failures, seconds in [(1, 5), (2, 10), (3, 20), (6, 120), (1000, 120)]:
        pauses = [pace.after(failures) for _ in range(200)]
        assert 0.75 * seconds <= min(pauses) < max(pauses) <= 1.25 * seconds


def test_the_queue_outlives_the_process(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office()
    office.close()
    queued = queue.add()

    async def first() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: (queue.row(queued) or {})["last_error"])

    async def second() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(first())
    office.open()
    asyncio.run(second())
    assert queued.pin in office.received[0].part("plain")


def test_a_mail_of_a_process_that_died_goes_out_when_its_lease_ends(
    house: House, queue: Queue, open_office: Offices
) -> None:
    office = open_office()
    queue.add()

    async def work() -> None:
        realms = Realms(house.config(office), house.urls)
        claimed = await realms.get("main").transact(lambda tx: queue_rules.claim(tx, 60_000))
        assert claimed
        await realms.close()
        async with house.mailer(house.config(office)) as running:
            await asyncio.sleep(0.7)
            assert not office.received
            queue.connection.execute("UPDATE sync.mails SET next_try = next_try - 60000")  # a minute passes
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert len(office.received) == 1


def test_two_processes_send_each_mail_once(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office()
    queued = [queue.add() for _ in range(25)]

    async def work() -> None:
        config = house.config(office)
        async with house.mailer(config) as one, house.mailer(config) as other, house.mailer(config) as third:
            for running in (one, other, third):
                running.wake()
            await one.until(lambda: not queue.mails())

    asyncio.run(work())
    assert sorted(received.recipients[0] for received in office.received) == sorted(each.email for each in queued)
    assert len({received.connection for received in office.received}) > 1  # they did share the work


def test_a_stop_lets_the_mail_under_way_come_to_its_end(house: House, queue: Queue, open_office: Offices) -> None:
    office = open_office(before_data=lambda: time.sleep(0.5))
    queue.add()
    queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: "RCPT" in office.commands)

    asyncio.run(work())
    assert len(office.received) == 1
    assert len(queue.mails()) == 1


UNREMOVABLE = """
CREATE FUNCTION sync.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'mail to % stays', (SELECT email FROM sync.users WHERE id = OLD.user_id);
END $$;
CREATE TRIGGER refuse BEFORE DELETE ON sync.mails FOR EACH ROW EXECUTE FUNCTION sync.refuse();
"""


def test_a_mail_that_was_sent_is_not_sent_again_when_it_could_not_be_removed(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    once = [UNREMOVABLE]
    office = open_office(before_data=lambda: once and queue.connection.execute(once.pop()))
    queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: logged.of("mail_queue_fault"))
            queue.connection.execute("DROP TRIGGER refuse ON sync.mails")
            queue.connection.execute("UPDATE sync.mails SET next_try = 0")  # the lease is over
            running.wake()
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert len(office.received) == 1
    assert logged.of("mail_queue_fault")[0]["error"].startswith("RaiseException in ")


def test_a_mail_that_is_too_late_is_dropped_with_a_word(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    office = open_office(answers={"RCPT": deque(["451 later, <{}>"] * 1000)})
    expired, late = queue.add(lifetime=0), queue.add(lifetime=60_000)

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: (queue.row(late) or {})["tries"] >= 2)
            queue.connection.execute("UPDATE sync.mails SET expires = expires - 60000")  # a minute passes
            await running.until(lambda: len(logged.of("mail_expired")) == 2)
            assert running.mailer.outcomes["main", "pin", "given_up"] == 2

    asyncio.run(work())
    assert not queue.mails()
    first, second = logged.of("mail_expired")
    assert (first["mail"], first["template"], first["tries"]) == (str(expired.id), "pin", 0)
    assert (second["mail"], second["realm"]) == (str(late.id), "main")
    assert second["tries"] >= 2
    assert second["last_error"] == "SMTPRecipientRefused 451"


def test_a_fault_with_one_mail_holds_up_no_other(
    house: House, queue: Queue, open_office: Offices, logged: Logged
) -> None:
    office = open_office()
    strange = queue.add(template="from-a-later-version")
    other = queue.add()

    async def work() -> None:
        async with house.mailer(house.config(office)) as running:
            await running.until(lambda: office.received and (queue.row(strange) or {})["last_error"])

    asyncio.run(work())
    assert office.received[0].recipients == [other.email]
    assert logged.of("mail_postponed")[0]["error"].startswith("LookupError in letters.py")


@pytest.fixture
def socket_path(database_url: str) -> str:
    info = psycopg.conninfo.conninfo_to_dict(database_url)
    if not str(info.get("host", "")).startswith("/"):
        pytest.skip("needs a database with a Unix socket")
    return f"{info['host']}/.s.PGSQL.{info['port']}"


def through(gate: Gate, url: str) -> str:
    """The URL of the same database behind the gate."""
    info = psycopg.conninfo.conninfo_to_dict(url)
    return f"postgresql://{info['user']}@127.0.0.1:{gate.port}/{info['dbname']}?sslmode=disable&gssencmode=disable"


def test_a_database_that_is_down_at_the_start_delays_nobody_else(
    house: House, queue: Queue, open_office: Offices, loop: Loop, logged: Logged, postgres: Postgres,
    socket_path: str,
) -> None:  # fmt: skip
    office = open_office()
    queued = queue.add()
    other_url = postgres.create_migrated("quick_realm")
    gate = Gate(loop, socket_path, is_open=False)
    config_urls = {"main": through(gate, house.urls["main"]), "quick": other_url, "away": "postgresql://127.0.0.1:1/x"}
    house.urls = config_urls

    async def work() -> None:
        with psycopg.connect(other_url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            quick = Queue(connection, queue.secrets).add()
            async with house.mailer(house.config(office), QUICK._replace(longest=0.2)) as running:
                await running.until(lambda: office.received)
                assert not [entry for entry in logged.of("mail_queue_unavailable") if entry["realm"] == "main"]
                assert office.received[0].recipients == [quick.email]
                await running.until(lambda: any(e["realm"] == "main" for e in logged.of("mail_queue_unavailable")))
                gate.is_open = True
                await running.until(lambda: len(office.received) == 2)

    asyncio.run(work())
    gate.close()
    assert office.received[1].recipients == [queued.email]
    away = [entry for entry in logged.of("mail_queue_unavailable") if entry["realm"] == "away"]
    assert away
