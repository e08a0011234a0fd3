"""One run of the adoption: note the old accounts, choose, take over account by account, report."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
import psycopg
from psycopg import errors as pg

from sync_server import diagnosis, migrations
from sync_server.accounts.protocol import email_key
from sync_server.adoption import old
from sync_server.adoption.books import Books
from sync_server.adoption.old import AdoptionError
from sync_server.adoption.progress import Progress
from sync_server.adoption.report import Finding, Report, Totals
from sync_server.adoption.spaces import SETTLED, take_over
from sync_server.config import RealmSettings
from sync_server.migrations import Connection, MigrationError

T = TypeVar("T")
_USERS_AT_ONCE = 1000
_LINES_AT_ONCE = 20_000
"""Lines of the log in one transaction, unless a single account has more."""
_MOST_FINDINGS = 100_000
_ATTEMPTS = 12
_CONFLICTS = (pg.SerializationFailure, pg.DeadlockDetected, pg.ForeignKeyViolation, pg.UniqueViolation)
_FIRST = uuid.UUID(int=0)


def adopt(
    realm: str, settings: RealmSettings, url: str, progress: Progress, *, dry_run: bool = False, all_again: bool = False
) -> Report:
    """Take over what is new in the old tables of the realm's database; with `dry_run` only say what that would be.

    Safe to repeat, to kill, and to run beside itself and both servers. `all_again`: devices are sent all that others have
    written, not only what they may have missed. Raises AdoptionError.
    """
    try:
        if not dry_run:
            migrations.migrate(url, settings.schema)
        with migrations.connect(url) as connection, _rolled_back(connection, dry_run):
            if dry_run:
                migrations.apply_within(connection, settings.schema)
            found = old.find(connection)
            if found is None:
                raise AdoptionError(
                    "this database has no tables of sync_server_ts (users, user_clients, data, sync_data)"
                )
            statements = found.statements(settings.schema)
            books = Books(
                connection,
                statements,
                full_history=settings.history == "full",
                keep_deleted=settings.retention.deleted != 0,
                everything=all_again,
            )
            return _run(books, realm, progress, dry_run=dry_run)
    except MigrationError as exc:
        raise AdoptionError(f"its schema cannot be brought up to date: {exc}") from exc
    except psycopg.Error as exc:
        raise AdoptionError(diagnosis.explain(exc)) from exc


@contextlib.contextmanager
def _rolled_back(connection: Connection, dry_run: bool) -> Iterator[None]:
    """A run that leaves nothing behind is a transaction that is rolled back, with those of the run as savepoints."""
    if not dry_run:
        # one snapshot per account: what is written after it was taken is for the next run, and is not noted as taken; of a
        # dry run it would be one for all, with which every change meanwhile is a conflict that no repetition solves
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with connection.transaction(force_rollback=True) if dry_run else contextlib.nullcontext():
        yield


def _run(books: Books, realm: str, progress: Progress, *, dry_run: bool) -> Report:
    began = time.monotonic()
    run_id = uuid.uuid4()
    with _transaction(books):
        books.execute("begin_adoption", id=run_id)
    _note_users(books)
    looked_at = _repeat(books, functools.partial(_choose, books))
    news = _repeat(books, functools.partial(books.all, "users_with_news"))
    work = [(user_id, int(lines)) for user_id, lines in news]
    progress.begin(sum(lines for _, lines in work))
    done = Totals()
    for users in _batches(work):
        done.add(_take_over(books, [user_id for user_id, _ in users], looked_at))
        progress.advance(sum(lines for _, lines in users))
    seconds = time.monotonic() - began
    return _repeat(books, lambda: _finish(books, run_id, _report(books, realm, done, seconds=seconds, dry_run=dry_run)))


def _finish(books: Books, run_id: uuid.UUID, report: Report) -> Report:
    books.execute("keep_report", id=run_id, report=msgspec.json.encode(report).decode())
    books.execute("finish_adoptions")
    return report


def _note_users(books: Books) -> None:
    """Write down every old account with its address as this server compares it, which SQL could not tell."""
    after = _FIRST
    while users := books.all("old_users_after", after=after, most=_USERS_AT_ONCE):
        noted = {
            "user_ids": [user_id for user_id, *_ in users],
            "email_keys": [email_key(email) for _, email, *_ in users],
            "digests": [_digest(password, salt) for _, _, password, salt in users],
        }
        _repeat(books, functools.partial(books.execute, "note_users", **noted))
        after = users[-1][0]


def _digest(password: str, salt: str) -> str:
    """What tells whether a stored hash has changed, without being one."""
    return hashlib.sha256(f"{salt}\0{password}".encode()).hexdigest()


def _choose(books: Books) -> int:
    """Decide who is taken over, and whose contents are; up to which line of the log."""
    for statement in (
        "follow_addresses",
        "note_addresses",
        "choose_users",
        "forget_contents",
        "find_contents",
        "forget_waiting",
        "find_waiting",
    ):
        books.execute(statement)
    settled: int = books.one("settled_line", settled=books.one("now")["now"] - SETTLED)["line"]
    return settled


def _take_over(books: Books, users: list[uuid.UUID], looked_at: int) -> Totals:
    """Take over a batch; where its devices sync all the time, smaller and smaller parts of it."""
    work = functools.partial(take_over, books, users, looked_at)
    if len(users) == 1:
        return _repeat(books, work)
    try:
        return _repeat(books, work, attempts=2)
    except _CONFLICTS:
        half = len(users) // 2
        done = _take_over(books, users[:half], looked_at)
        done.add(_take_over(books, users[half:], looked_at))
        return done


def _batches(work: Sequence[tuple[uuid.UUID, int]]) -> Iterator[list[tuple[uuid.UUID, int]]]:
    batch: list[tuple[uuid.UUID, int]] = []
    for user in work:
        if batch and (sum(lines for _, lines in batch) + user[1] > _LINES_AT_ONCE or len(batch) == _USERS_AT_ONCE):
            yield batch
            batch = []
        batch.append(user)
    if batch:
        yield batch


def _report(books: Books, realm: str, done: Totals, *, seconds: float, dry_run: bool) -> Report:
    books.execute("forget_waiting")
    books.execute("find_waiting")
    accounts = books.one("count_accounts")
    return Report(
        realm=realm,
        dry_run=dry_run,
        seconds=round(seconds, 1),
        done=done,
        old_accounts=accounts["users"],
        adopted_accounts=accounts["adopted"],
        accounts_left_since=accounts["left_since"],
        **books.one("count_strangers"),
        not_taken_over=dict(books.all("count_findings")),
        findings=books.all_as(Finding, "list_findings", most=_MOST_FINDINGS),
    )


def _repeat(books: Books, work: Callable[[], T], attempts: int = _ATTEMPTS) -> T:
    """Run `work` in a transaction, the whole again when another one was in its way."""
    for attempt in range(attempts):
        try:
            with _transaction(books):
                return work()
        except _CONFLICTS:
            if attempt == attempts - 1:
                raise
            time.sleep(random.uniform(0.5, 1.0) * min(2.0, 0.02 * 2**attempt))  # noqa: S311 - no secret
    raise AssertionError


@contextlib.contextmanager
def _transaction(books: Books) -> Iterator[None]:
    with books.connection.transaction():
        books.connection.execute(migrations.PATIENCE)
        yield
