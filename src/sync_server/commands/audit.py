"""`sync-server audit`: the audit log is looked at, verified and taken out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import msgspec

from sync_server import config as configuration
from sync_server import preparing
from sync_server.accounts import management
from sync_server.audit import exporting, heads, listing, verifying
from sync_server.audit.chain import ADMINS
from sync_server.audit.exporting import Format
from sync_server.audit.listing import Wanted
from sync_server.audit.verifying import End, Verified
from sync_server.commands import realms
from sync_server.commands.options import CONFIG, counted, one_line, realms_named
from sync_server.commands.progress import amount
from sync_server.realms import Realm, opened

_LISTED = 50


class _Time(click.ParamType[int]):
    """A date or a time of ISO 8601, in UTC where it says nothing else; in ms since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a date nor a time, such as 2026-11-21 or 2026-11-21T15:00Z", param, ctx)
        return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option("--realm", required=True, help="The realm."),
        click.option("--since", type=_Time(), default="1970-01-01", help="From this date or time on (UTC)."),
        click.option("--until", type=_Time(), default="9999-01-01", help="Before this date or time (UTC)."),
        click.option("--user", help="Who did it: the address or the id of a user."),
        click.option("--entity", help="Of what kind: user, space (pushes of devices, rows brought back) …"),
        click.option("--entity-id", help="Which one."),
        click.option("--action", help="What was done, such as user.update or rows.push."),
    )
    for option in reversed(options):
        command = option(command)
    return CONFIG(command)


@click.group()
def audit() -> None:
    """Who did what: admins, and where the history is full, devices."""


@audit.command("list")
@_filters
@click.option("--limit", type=click.IntRange(1, 1000), default=_LISTED, show_default=True, help="How many.")
def show(path: Path, realm: str, limit: int, **filters: Any) -> None:
    """Show the latest lines."""

    async def run(found: Realm) -> None:
        wanted = await _wanted(found, **filters)
        for entry in await found.read(lambda tx: listing.page(tx, wanted, None, limit)):
            at = datetime.fromtimestamp(entry.at / 1000, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
            who = entry.email or entry.user_id or entry.via
            what = counted(entry.changes, "row") if entry.changes is not None else _said(entry.content)
            click.echo(one_line(f"{at}  {who}  {entry.action} {entry.entity_id}  {what}".rstrip()))

    realms.within(path, realm, lambda _, found: run(found))


async def _wanted(realm: Realm, user: str | None, **filters: Any) -> Wanted:
    """Raises UserNotFound where nobody has the address (an id may be of somebody who is gone)."""
    if user is None:
        return Wanted(user_id=None, **filters)
    try:
        return Wanted(user_id=UUID(user), **filters)
    except ValueError:
        found = await realm.read(lambda tx: management.find(tx, user))
        return Wanted(user_id=found.id, **filters)


def _said(content: str | None) -> str:
    if content is None:
        return "(erased)"
    parts = msgspec.json.decode(content, type=dict[str, msgspec.Raw])  # so that they are shown as they were written
    values = {name: value for name, value in parts.items() if bytes(value) != b"null"}
    return msgspec.json.encode(values).decode() if values else ""


@audit.command()
@_filters
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="jsonl", show_default=True)
def export(path: Path, realm: str, form: Format, **filters: Any) -> None:
    """Print lines with all values, the latest first; a push as one line per row that it changed."""

    async def run(found: Realm) -> None:
        wanted = await _wanted(found, **filters)
        with amount(f"Realm {realm}", "KiB", beside=sys.stdout) as written:
            async for piece in exporting.export(found, wanted, form):
                sys.stdout.buffer.write(piece)
                written.advance(len(piece) / 1024)
        sys.stdout.flush()

    realms.within(path, realm, lambda _, found: run(found))


@audit.command()
@CONFIG
@click.option("--realm", help="Only this realm.  [default: all]")
@click.option("--save-heads", type=click.Path(path_type=Path), help="Write the ends of all chains to this file.")
@click.option(
    "--heads", "earlier", type=click.Path(path_type=Path, exists=True), help="Compare with ends saved earlier."
)
def verify(path: Path, realm: str | None, save_heads: Path | None, earlier: Path | None) -> None:
    """See whether the log is as it was written: nothing changed, removed or put in. Ends with 1 if not.

    Whoever can write to the database as its owner can make a new log that is whole in itself. Keep what --save-heads
    writes elsewhere, now and then: with --heads it shows that what was there then is still there.
    """
    config = configuration.load(path)
    known = heads.read(earlier) if earlier is not None else {}
    ends: list[heads.Head] = []
    wrong = 0

    async def run(urls: dict[str, str]) -> None:
        nonlocal wrong
        async with opened(config, urls) as served:
            for name in realms_named(config, path, realm):
                chains = await _verified(served.get(name), known.get(name))
                wrong += _report(name, chains)
                ends.extend(heads.Head(name, one.chain, one.number, one.hash) for one in chains if one.number)

    with preparing.databases(config, share=True) as (_, urls):
        asyncio.run(run(urls))
    if save_heads is not None:
        heads.write(save_heads, ends)
    sys.exit(1 if wrong else 0)


async def _verified(realm: Realm, known: Mapping[UUID, End] | None) -> list[Verified]:
    found = []
    with amount(f"Realm {realm.name}", "lines") as verified:
        async for chain in verifying.verify(realm, known):
            found.append(chain)
            verified.advance(chain.lines)
    return found


def _report(realm: str, chains: list[Verified]) -> int:
    """Print what was found in a realm; how much is wrong."""
    total = {name: sum(getattr(one, name) for one in chains) for name in ("lines", "erased", "pruned", "uncovered")}
    findings = [finding for one in chains for finding in one.findings]
    for finding in findings:
        chain = "admins" if finding.chain == ADMINS else f"space {finding.chain}"
        line = f", line {finding.number}" if finding.number else ""
        click.echo(one_line(f"Realm {realm}, chain {chain}{line}: {finding.problem}"), err=True)
    admins = next(one for one in chains if one.chain == ADMINS)
    lines, found = counted(total["lines"], "line"), counted(len(findings), "finding")
    click.echo(f"Realm {realm}: {lines} in {counted(len(chains), 'chain')}, {found}")
    click.echo(f"  admins: {counted(admins.number, 'line')}, the last one's hash is {admins.hash or 'none'}")
    for name, said in (
        ("erased", "lines of users who are gone, without what was personal"),
        ("pruned", "pushes whose changes retention.history has removed"),
        (
            "uncovered",
            "changes in the history that no line covers: adopted, or made by a version before this one, or by hand",
        ),
    ):
        if total[name]:
            click.echo(f"  {total[name]} {said}")
    return len(findings)
