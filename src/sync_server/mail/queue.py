"""The queue: mails in a realm's database, each of which one process at a time has on lease.

Its times are the database's: of servers whose clocks differ none takes a mail from another, or throws a fresh one away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sync_server.database import Tx


class Mail(NamedTuple):
    """A mail that was claimed; `tries` counts this time."""

    id: UUID
    template: str
    details: str
    good_for: int
    """Milliseconds until it expires."""
    tries: int
    email: str
    name: str
    language: str | None


class Expired(NamedTuple):
    id: UUID
    template: str
    tries: int
    last_error: str | None


async def drop_expired(tx: Tx) -> Sequence[Expired]:
    """Remove the mails that nobody sent in time; what they were."""
    return await tx.all(Expired, "drop_expired_mails", {})


async def claim(tx: Tx, lease: int) -> Mail | None:
    """The mail that has been due for longest, for the caller alone during `lease` ms. None when nothing is due."""
    return await tx.one(Mail, "claim_mail", {"lease": lease})


async def postpone(tx: Tx, mail: Mail, pause: int, error: str, *, counts: bool) -> None:
    """Give the mail back for `pause` ms, or until it expires. `counts`: whether it was one of the mail's tries."""
    parameters = {
        "id": mail.id,
        "tries": mail.tries,
        "tries_counted": mail.tries if counts else mail.tries - 1,
        "pause": pause,
        "error": error,
    }
    await tx.execute("postpone_mail", parameters)


async def remove(tx: Tx, mail: Mail) -> None:
    """Take the mail out of the queue for good."""
    await tx.execute("remove_mail", {"id": mail.id})


async def next_due(tx: Tx) -> int | None:
    """The ms until a mail is due; None when the queue is empty."""
    due: int | None = await tx.value("next_mail", {})
    return due
