"""The queue: mails in a realm's database, each of which one process at a time has on lease."""

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
    expires: int
    tries: int
    email: str
    name: str
    language: str | None


class Expired(NamedTuple):
    id: UUID
    template: str
    tries: int
    last_error: str | None


async def drop_expired(tx: Tx, now: int) -> Sequence[Expired]:
    """Remove the mails that nobody sent in time; what they were."""
    return await tx.all(Expired, "drop_expired_mails", {"now": now})


async def claim(tx: Tx, now: int, lease: int) -> Mail | None:
    """The mail that has been due for longest, for the caller alone during `lease` ms. None when nothing is due."""
    return await tx.one(Mail, "claim_mail", {"now": now, "leased_until": now + lease})


async def postpone(tx: Tx, mail: Mail, next_try: int, error: str, *, counts: bool) -> None:
    """Give the mail back until `next_try`, or until it expires. `counts`: whether it was one of the mail's tries."""
    parameters = {
        "id": mail.id,
        "tries": mail.tries,
        "tries_counted": mail.tries if counts else mail.tries - 1,
        "next_try": next_try,
        "error": error,
    }
    await tx.execute("postpone_mail", parameters)


async def remove(tx: Tx, mail: Mail) -> None:
    """Take the mail out of the queue for good."""
    await tx.execute("remove_mail", {"id": mail.id})


async def next_due(tx: Tx) -> int | None:
    """When a mail is due next, in ms since the epoch; None when the queue is empty."""
    due: int | None = await tx.value("next_mail", {})
    return due
