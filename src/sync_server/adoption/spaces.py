"""Taking over accounts with their clients and rows, in one transaction under the locks of their spaces."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sync_server.adoption.books import Books
from sync_server.adoption.report import Totals

LONGEST_SYNC = 120_000
"""Milliseconds after which the old server took a sync for dead."""
SLACK = 10
"""Milliseconds between the last line of a push and the cursor that it was answered with."""
PAUSE = 25
"""Milliseconds without a line, after which the next one is of another push."""
SETTLED = 600_000
"""Milliseconds after which a line of the log that is not visible will not appear any more."""


def take_over(books: Books, users: list[UUID], looked_at: int) -> Totals:
    """Take over these accounts, or what the old server has written of them since.

    `looked_at`: up to this line of the log it is known whose the contents are.
    """
    now = books.one("now")["now"]
    locked = [user_id for (user_id,) in books.all("lock_adopted_users", users=users)]
    done = Totals(accounts=len(locked), clients=_accounts(books, locked, now))
    books.execute("find_newer_contents", users=locked, looked_at=looked_at)
    states = books.all("states_of_users", users=locked)
    untouched = [user_id for user_id, is_untouched, _ in states if is_untouched]
    touched = [user_id for user_id, is_untouched, _ in states if not is_untouched]
    if again := [user_id for user_id, is_untouched, is_known in states if is_untouched and is_known]:
        books.execute("forget_rows", users=again)
        books.execute("forget_history", users=again)
    if untouched:  # nobody has seen what is here of them: it is made from the whole of the log
        _count(done, books.one("write_rows", users=untouched, longest=LONGEST_SYNC, slack=SLACK, pause=PAUSE))
    if touched:
        _merge(books, touched, now, done)
    books.execute("follow_clients", users=locked)
    books.execute("note_clients", users=locked)
    books.execute("settle_lines", users=locked, settled=now - SETTLED)
    books.execute("forget_lines", users=locked)
    books.execute("note_lines", users=locked)
    for statement in ("forget_findings", "find_rows", "find_clients", "find_passwords"):
        books.execute(statement, users=locked)
    return done


def _accounts(books: Books, users: list[UUID], now: int) -> int:
    """Make or follow the accounts and their clients, and lock all that is of them; the number of new clients."""
    for statement in ("make_spaces", "make_users", "note_made_users", "drop_unused_spaces"):
        books.execute(statement, users=users)
    books.execute("lock_users", users=users)
    books.execute("lock_clients", users=users)
    books.execute("lock_spaces", users=users)
    for statement in ("find_password_conflicts", "follow_passwords", "note_passwords"):
        books.execute(statement, users=users)
    return books.execute("make_clients", users=users, now=now)


def _merge(books: Books, users: list[UUID], now: int, done: Totals) -> None:
    """Devices of these accounts sync here already: what came since joins as conflicting edits do."""
    _count(done, books.one("merge_lines", users=users, now=now))
    _count(done, books.one("lift_rows", users=users, now=now))


def _count(done: Totals, counted: dict[str, Any]) -> None:
    for name in set(Totals.__struct_fields__) & counted.keys():
        setattr(done, name, getattr(done, name) + counted[name])
