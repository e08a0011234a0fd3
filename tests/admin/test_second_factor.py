"""A second factor: codes of an authenticator app, each for once, and recovery codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pyotp
import pytest

from admin.people import PASSWORD, NewPerson, Person, data, make, refused
from conftest import start_server
from postgres import Postgres
from sync_server.accounts.roles import Role
from users import Connection, look_into


@dataclass
class Ann:
    """With an authenticator app."""

    person: Person
    app: pyotp.TOTP
    recovery: list[str]

    def fresh(self) -> str:
        """A code that has not been used: the app's next one."""
        self.person.connection.execute("UPDATE sync.totp SET last_step = 0 WHERE user_id = %s", [self.person.id])
        return self.app.now()

    def wrong(self) -> str:
        return "000000" if self.app.now() != "000000" else "000001"


def begin(person: Person, password: str = PASSWORD) -> httpx.Response:
    return person.call("POST", "/auth/totp", json={"password": password})


def with_app(person: Person) -> Ann:
    found = data(begin(person))
    app = pyotp.parse_uri(found["uri"])
    assert isinstance(app, pyotp.TOTP)
    assert app.secret == found["secret"]
    codes = data(person.call("POST", "/auth/totp/confirm", json={"code": app.now()}))["recovery_codes"]
    return Ann(person, app, codes)


@pytest.fixture
def ann(new_person: NewPerson) -> Ann:
    return with_app(new_person())


def test_signing_in_takes_a_code(ann: Ann) -> None:
    person = ann.person
    refused(person.login(), 401, "code_needed")
    refused(person.login("wrong"), 401, "sign_in_rejected")
    refused(person.login("wrong", code=ann.fresh()), 401, "sign_in_rejected")
    refused(person.login(code=ann.wrong()), 401, "sign_in_rejected")
    assert person.login(code=ann.fresh()).is_success
    assert person.get("/auth/me")["second_factor"] is True


def test_a_code_is_good_for_once(ann: Ann) -> None:
    code = ann.fresh()
    assert ann.person.login(code=code).is_success
    refused(ann.person.login(code=code), 401, "sign_in_rejected")


def early_in_a_step() -> int:
    """The time, when what is sent now arrives in the same 30 seconds, also on a busy machine."""
    gone = time.time() % 30
    if gone > 22:
        time.sleep(30 - gone)
    return int(time.time())


def test_codes_of_the_steps_before_and_after_are_taken(ann: Ann) -> None:
    for shift, taken in [(-1, True), (1, True), (-3, False), (3, False)]:
        ann.fresh()
        code = ann.app.at(early_in_a_step(), counter_offset=shift)
        assert ann.person.login(code=code).is_success is taken, shift


def test_each_recovery_code_is_good_for_once(ann: Ann, new_person: NewPerson) -> None:
    assert len(set(ann.recovery)) == 10
    for code in ann.recovery[:2]:
        assert ann.person.login(code=f" {code.upper()} ").is_success
        refused(ann.person.login(code=code), 401, "sign_in_rejected")
    other = with_app(new_person())
    refused(other.person.login(code=ann.recovery[2]), 401, "sign_in_rejected")


def test_nothing_changes_before_a_code_is_confirmed(new_person: NewPerson) -> None:
    person = new_person()
    first, second = (data(begin(person))["secret"] for _ in range(2))
    assert first != second
    refused(person.call("POST", "/auth/totp/confirm", json={"code": pyotp.TOTP(first).now()}), 403, "code_rejected")
    assert person.login().is_success
    assert person.get("/auth/me")["second_factor"] is False
    assert person.get(person.users(f"/{person.id}"))["second_factor"] is False
    assert person.call("POST", "/auth/totp/confirm", json={"code": pyotp.TOTP(second).now()}).is_success


def test_a_stolen_session_turns_none_on(new_person: NewPerson) -> None:
    """The thief's app would lock the account's owner out, long after the session has ended."""
    person = new_person("viewer")
    refused(begin(person, "wrong"), 403, "password_rejected")
    refused(person.call("POST", "/auth/totp", json={}), 422, "invalid")
    assert not person.connection.execute("SELECT 1 FROM sync.totp WHERE user_id = %s", [person.id]).fetchall()
    assert begin(person).is_success


def test_one_that_counts_is_not_replaced(ann: Ann) -> None:
    refused(begin(ann.person), 409, "second_factor_on")
    refused(ann.person.call("POST", "/auth/totp/confirm", json={"code": ann.fresh()}), 409, "second_factor_on")
    assert ann.person.login(code=ann.fresh()).is_success


def test_it_is_removed_with_a_code(ann: Ann) -> None:
    person = ann.person
    refused(person.call("POST", "/auth/totp/remove", json={"code": "x"}), 403, "code_rejected")
    refused(person.login(), 401, "code_needed")
    assert person.call("POST", "/auth/totp/remove", json={"code": ann.recovery[0]}).is_success
    assert person.login().is_success
    left = person.connection.execute("SELECT 1 FROM sync.recovery_codes WHERE user_id = %s", [person.id]).fetchall()
    assert not left


def test_an_admin_removes_it_for_who_has_lost_their_app(ann: Ann, new_person: NewPerson) -> None:
    path, admin = f"{ann.person.users(f'/{ann.person.id}')}/remove-second-factor", new_person("admin")
    for sort in ("email", "name", "created_at", "-created_at"):
        listed = admin.get(admin.users(), search=ann.person.email, role=str(ann.person.role), sort=sort, limit=200)
        assert {each["id"]: each["second_factor"] for each in listed}[ann.person.id] is True
    refused(new_person("technician").call("POST", path), 403, "forbidden")
    assert admin.call("POST", path).is_success
    assert admin.get(admin.users(f"/{ann.person.id}"))["second_factor"] is False
    assert ann.person.login().is_success


def test_nobody_gets_rid_of_their_own_without_a_code(ann: Ann) -> None:
    """Whoever has stolen a session would be rid of it for good."""
    path = f"{ann.person.users(f'/{ann.person.id}')}/remove-second-factor"
    refused(ann.person.call("POST", path), 409, "own_account")
    refused(ann.person.login(), 401, "code_needed")


def test_the_database_alone_gives_no_secret_away(ann: Ann) -> None:
    tables = ("totp", "recovery_codes", "audit_details", "audit_lines")
    held = [str(ann.person.connection.execute(f"SELECT * FROM sync.{table}".encode()).fetchall()) for table in tables]
    for secret in (ann.app.secret, ann.app.secret.lower(), *ann.recovery):
        assert secret not in str(held)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Callable[[], Ann]]:
    """Makes people of a server with limits."""
    url = postgres.create_database("guessed")
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"main": url}}}
    process = start_server(tmp_path_factory.mktemp("guessed"), config)
    with httpx.Client(base_url=process.url, timeout=60) as http, look_into(url) as connection:
        yield lambda: with_app(make(http, connection, "main", Role.ADMIN).signed_in())
    assert process.stop() == 0


def test_codes_cannot_be_guessed(limited: Callable[[], Ann]) -> None:
    """By somebody who has the password: the same code again counts, too, as it may be right the next time."""
    ann = limited()
    for _ in range(10):
        refused(ann.person.login(code=ann.wrong()), 401, "sign_in_rejected")
    refused(ann.person.login(code=ann.fresh()), 429, "too_many_attempts")


def test_nor_are_passwords_guessed_with_a_session(limited: Callable[[], Ann]) -> None:
    person = limited().person
    for number in range(20):
        refused(begin(person, f"wrong {number}"), 403, "password_rejected")
    refused(begin(person), 429, "too_many_attempts")
    refused(person.login(), 429, "too_many_attempts")


def test_nor_by_trying_many_at_once(limited: Callable[[], Ann]) -> None:
    """A try waits for those that are under way, and then sees them counted."""
    ann = limited()
    connection, code = ann.person.connection, ann.fresh()
    connection.execute("DELETE FROM sync.attempts")
    refused(ann.person.login(code=ann.wrong()), 401, "sign_in_rejected")
    with ThreadPoolExecutor(1) as pool:
        with connection.transaction():
            connection.execute("SELECT 1 FROM sync.totp WHERE user_id = %s FOR UPDATE", [ann.person.id])
            more = "INSERT INTO sync.attempts SELECT key, n::text, expires FROM sync.attempts, generate_series(1, 9) n"
            connection.execute(more.encode() + b" WHERE key LIKE 'code:%'")
            call = pool.submit(ann.person.login, code=code)
            _wait_until_blocked(connection, call)
        refused(call.result(60), 429, "too_many_attempts")


def _wait_until_blocked(connection: Connection, call: Future[httpx.Response]) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    end = time.monotonic() + 30
    while not call.done() and time.monotonic() < end and not connection.execute(waiting.encode()).fetchall():
        connection.execute("SELECT pg_stat_clear_snapshot()")
        time.sleep(0.01)
