"""Why a mail was not sent, in words that may be logged and stored.

SMTP servers repeat addresses in their answers, and libraries repeat the answers in their exceptions, so only kinds of errors
and SMTP codes are taken from either.
"""

from __future__ import annotations

import traceback
from pathlib import Path

import aiosmtplib


class MailFailure(Exception):
    """A mail was not sent. `reason` never holds an address, a PIN, a password, or what an SMTP server wrote."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Away(MailFailure):
    """No mail would go out now: the way is broken, not the mail. `hint` says how to mend it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class Refused(MailFailure):
    """One mail did not go out; `permanent` if the server says that it never will."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class Undeliverable(MailFailure):
    """A mail that can never go out, whatever any server says."""


def reason(exc: BaseException) -> str:
    """The kind of an SMTP or network error, and the SMTP code if there is one."""
    if isinstance(exc, aiosmtplib.SMTPRecipientsRefused) and exc.recipients:
        exc = exc.recipients[0]
    if isinstance(exc, aiosmtplib.SMTPResponseException):
        return f"{type(exc).__name__} {exc.code}"
    if isinstance(exc.__cause__, Exception):
        return f"{type(exc).__name__} ({type(exc.__cause__).__name__})"
    return type(exc).__name__


def place(exc: BaseException) -> str:
    """The kind of a fault and where it happened; its text may hold what was being mailed."""
    where = [
        f"in {Path(frame.filename).name}, line {frame.lineno}" for frame in traceback.extract_tb(exc.__traceback__)
    ]
    return " ".join([type(exc).__name__, *where[-1:]])
