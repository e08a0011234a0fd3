"""What a run of the adoption did, and what it could not take over. No addresses, no content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_WHY = {
    "address_differs_in_case": "accounts whose address differs from another one's only in case; change one of the two",
    "address_in_use": "accounts whose address somebody has registered here",
    "client_of_another_user": "clients whose id another account has here",
    "content_of_another_table": "rows whose content was replaced by that of another table's row with the same guid",
    "content_of_another_user": "rows whose content was replaced by that of another user's row with the same guid",
    "no_content": "rows of the log without content",
    "password_changed_on_both": "accounts whose password was changed here and there; the one from here stays",
    "unknown_operation": "rows of the log with an operation other than I, U and D",
    "unusable_password": "accounts without a usable password: they need a new one by mail",
}
_SHOWN = 10
"""Findings of a kind that people are shown; JSON has them all."""


class Finding(NamedTuple):
    kind: str
    user_id: str
    client_id: str | None
    tablename: str | None
    rowguid: str | None


class Totals(msgspec.Struct):
    """What a run has done."""

    accounts: int = 0
    """Taken over or brought up to date."""
    clients: int = 0
    """New ones."""
    rows: int = 0
    deletes: int = 0
    sent_again: int = 0
    """Rows that devices are sent though their cursor is past them, since they may have missed them."""
    overridden: int = 0
    """Versions that lost against a change made here."""

    def add(self, other: Totals) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Report(msgspec.Struct):
    realm: str
    dry_run: bool
    seconds: float
    done: Totals
    old_accounts: int
    adopted_accounts: int
    """Of all runs."""
    accounts_left_since: int
    """Taken over some day, and unregistered here; they stay away."""
    lines_without_user: int
    clients_without_user: int
    contents_without_line: int
    not_taken_over: dict[str, int]
    """By kind of finding."""
    findings: list[Finding]

    def in_short(self) -> dict[str, object]:
        """For a log."""
        counts = {"rows": self.done.rows, "deletes": self.done.deletes, "sent_again": self.done.sent_again}
        return {
            "accounts": self.adopted_accounts,
            **counts,
            "not_taken_over": self.not_taken_over,
            "seconds": self.seconds,
        }

    def lines(self) -> Iterator[str]:
        """The report for people."""
        done = self.done
        yield f"Realm {self.realm}: {'would take' if self.dry_run else 'took'} over, in {self.seconds:.1f} s:"
        yield f"  {done.accounts:,} accounts, {done.clients:,} clients, {done.rows:,} rows, {done.deletes:,} deletes"
        if done.sent_again:
            yield f"  {done.sent_again:,} rows are sent again, as a device may have missed them"
        if done.overridden:
            yield f"  {done.overridden:,} versions lost against changes made here and are kept in overridden"
        yield f"  {self.adopted_accounts:,} of {self.old_accounts:,} old accounts are here now"
        if self.accounts_left_since:
            yield f"  {self.accounts_left_since:,} were unregistered here since and stay away"
        yield from self._left_out()

    def _left_out(self) -> Iterator[str]:
        strangers = {
            "lines of the log of unknown users": self.lines_without_user,
            "clients of unknown users": self.clients_without_user,
            "contents that no line of the log names": self.contents_without_line,
        }
        if not self.not_taken_over and not any(strangers.values()):
            yield "Everything was taken over." if not self.dry_run else "Everything can be taken over."
            return
        yield "Not taken over (it stays in the old tables):"
        for kind, number in self.not_taken_over.items():
            yield f"  {number:,} {_WHY.get(kind, kind)}"
            named = [finding for finding in self.findings if finding.kind == kind]
            for finding in named[:_SHOWN]:
                yield f"    {_name(finding)}"
            if number > _SHOWN:
                yield f"    and {number - _SHOWN:,} others; --json lists them"
        for what, number in strangers.items():
            if number:
                yield f"  {number:,} {what}"


def _name(finding: Finding) -> str:
    parts = [f"user {finding.user_id}"]
    if finding.rowguid:
        parts.append(f"{finding.tablename} {finding.rowguid}")
    elif finding.client_id:
        parts.append(f"client {finding.client_id}")
    return ", ".join(parts)
