"""The courier of a realm: takes mails from the realm's queue and sends them.

A mail is sent at least once. Of all processes one at a time has it, by a lease; it is sent twice only if a process dies, or
loses the database for longer than the lease, between the SMTP server's yes and the removal from the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol, TypeVar
from uuid import UUID

import structlog

from sync_server.config import Config
from sync_server.database import Tx
from sync_server.errors import Unavailable
from sync_server.mail import failures, queue
from sync_server.mail.failures import Away, MailFailure, Refused, Undeliverable
from sync_server.mail.messages import Message, Writer
from sync_server.mail.outbox import Outbox
from sync_server.mail.pace import Pace
from sync_server.mail.queue import Expired, Mail
from sync_server.mail.smtp import Session
from sync_server.realms import Realm

T = TypeVar("T")
log = structlog.get_logger()

REFUSALS = 3
"""Tries from which on a permanent refusal ends a mail. Not the first one: greylisting servers take some 5xx back."""
STOPPING = 5.0
"""Seconds that a mail under way gets when the server stops."""
_LEASE_MARGIN = 30.0
_ATTENTION = 15 * 60.0
"""Seconds after a mail during which the queue is looked at now and then, for mails that another process left behind."""


Outcome = Literal["sent", "failed", "given_up"]
"""Of a try to send a mail; `given_up`: it was refused for good, or expired."""
Outcomes = Counter[tuple[str, str, Outcome]]
"""How often, by the realm, the mail's template and the outcome."""


class Carrier(Protocol):
    """What takes messages away."""

    async def send(self, message: Message) -> Path | None:
        """The file that the message became, if it did. Raises MailFailure."""

    async def close(self) -> None:
        """No further message comes for now."""


class Courier:
    """Sends one realm's mails."""

    def __init__(self, config: Config, realm: Realm, writer: Writer, pace: Pace, outcomes: Outcomes) -> None:
        self._config = config
        self._realm = realm
        self._writer = writer
        self._pace = pace
        self._outcomes = outcomes
        self._woken = asyncio.Event()
        self._watched_until = 0.0
        self._closed = 0
        """How many times in a row no mail would go out."""
        self._sent: set[UUID] = set()
        """Sent, but still in the queue because the database went away."""

    def wake(self) -> None:
        """Look into the queue now."""
        self._watch()
        self._woken.set()

    async def run(self, delay: float) -> None:
        """After `delay` seconds look into the queue, then whenever something may be due, until nothing is in sight."""
        await self._wait(delay)
        faults = 0
        while True:
            self._woken.clear()
            try:
                pause = await self._round()
                if pause is None and not self._woken.is_set():
                    return
                faults = 0
            except Exception as exc:  # noqa: BLE001 - whatever it was, the mails are tried again, at a decent pace
                faults += 1
                pause = self._pace.after(faults)
                self._report(exc, pause)
                await asyncio.sleep(self._pace.shortest)  # even when woken at once
            await self._wait(pause)

    def _watch(self) -> None:
        self._watched_until = time.monotonic() + _ATTENTION

    async def _wait(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _round(self) -> float | None:
        """Send all that is due; the seconds until something may be due again, None when nothing is in sight."""
        email = self._config.email
        carrier: Carrier = Session(email) if email.smtp else Outbox(self._config.data_dir / "outbox")
        try:
            while mail := await self._claim():
                self._watch()
                pause = await _finish(self._deliver(carrier, mail))
                if pause is not None:
                    return pause
        finally:
            await carrier.close()
        due = await self._realm.read(queue.next_due)
        if due is None:
            return self._pace.watching if time.monotonic() < self._watched_until else None
        self._watch()
        return max(self._pace.shortest, min(self._pace.watching, due / 1000))

    async def _claim(self) -> Mail | None:
        """The next mail that is due, on lease for as long as sending may take. Expired ones are dropped."""
        # a mail that ends one connection, another connection, and the mail again
        lease = round(1000 * (3 * self._config.email.timeout + _LEASE_MARGIN))

        async def claim(tx: Tx) -> tuple[Sequence[Expired], Mail | None]:
            return await queue.drop_expired(tx), await queue.claim(tx, lease)

        expired, mail = await self._realm.transact(claim)
        for each in expired:
            self._about(each).warning("mail_expired", last_error=each.last_error)
            self._count(each, "given_up")
        return mail

    async def _deliver(self, carrier: Carrier, mail: Mail) -> float | None:
        """Send a mail and record what became of it. Seconds to pause when no mail would go out now, else None."""
        failure = None if mail.id in self._sent else await self._send(carrier, mail)
        self._closed = self._closed + 1 if isinstance(failure, Away) else 0
        if failure is None or _is_final(failure, mail.tries):
            if failure:
                self._about(mail).warning("mail_dropped", error=failure.reason)
                self._count(mail, "given_up")
            await self._realm.transact(lambda tx: queue.remove(tx, mail))
            self._sent.discard(mail.id)
            return None
        closed = isinstance(failure, Away)  # which is not the mail's fault, so not one of its tries
        pause = self._pace.after(self._closed if closed else mail.tries)
        hint = {"hint": failure.hint} if isinstance(failure, Away) else {}
        self._count(mail, "failed")
        self._about(mail).warning("mail_postponed", error=failure.reason, retry_in=round(pause, 1), **hint)
        milliseconds = round(pause * 1000)
        await self._realm.transact(lambda tx: queue.postpone(tx, mail, milliseconds, failure.reason, counts=not closed))
        return pause if closed else None

    async def _send(self, carrier: Carrier, mail: Mail) -> MailFailure | None:
        try:
            path = await carrier.send(await asyncio.to_thread(self._writer.write, self._realm, mail))
        except MailFailure as failure:
            return failure
        except Exception as exc:  # noqa: BLE001 - a fault of ours must hold up neither the queue nor, for good, this mail
            return Refused(failures.place(exc))
        self._sent.add(mail.id)
        self._count(mail, "sent")
        if path:
            self._about(mail).info("mail_written", path=str(path), hint="no SMTP server is configured (email.smtp)")
        else:
            self._about(mail).info("mail_sent")
        return None

    def _about(self, mail: Mail | Expired) -> structlog.typing.FilteringBoundLogger:
        bound: structlog.typing.FilteringBoundLogger = log.bind(
            realm=self._realm.name, mail=str(mail.id), template=mail.template, tries=mail.tries
        )
        return bound

    def _count(self, mail: Mail | Expired, outcome: Outcome) -> None:
        self._outcomes[self._realm.name, mail.template, outcome] += 1

    def _report(self, exc: Exception, pause: float) -> None:
        if isinstance(exc, Unavailable):
            log.warning("mail_queue_unavailable", realm=self._realm.name, retry_in=round(pause, 1))
        else:
            log.error("mail_queue_fault", realm=self._realm.name, error=failures.place(exc), retry_in=round(pause, 1))


def _is_final(failure: MailFailure, tries: int) -> bool:
    if isinstance(failure, Refused):
        return failure.permanent and tries >= REFUSALS
    return isinstance(failure, Undeliverable)


async def _finish(work: Awaitable[T]) -> T:
    """Await `work`; when cancelled, let it come to its end first, if that takes no longer than STOPPING."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=STOPPING)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
