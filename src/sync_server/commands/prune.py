"""`sync-server prune` and `sync-server kept-aside`."""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path
from uuid import UUID

import click
import msgspec

from sync_server import config as configuration
from sync_server import preparing
from sync_server.commands import tables
from sync_server.commands.options import CONFIG, realms_named
from sync_server.commands.progress import amount
from sync_server.config import ConfigError
from sync_server.retention import command as operating

_COLUMNS = ("id", "email", "received_at", "reason", "bytes", "settled")


@click.command()
@CONFIG
@click.option("--realm", help="Only this realm.  [default: all]")
@click.option("--dry-run", is_flag=True, help="Only say how much would be removed.")
def prune(path: Path, realm: str | None, *, dry_run: bool) -> None:
    """Remove what may go by the configuration's `retention`, and what has expired; print how much, a JSON line per realm.

    A running server does this by itself every hour or so. Safe to run beside it: portions are small, and what both
    want to remove is removed once.
    """
    config = configuration.load(path)
    names = realms_named(config, path, realm)
    watch = functools.partial(amount, unit="found" if dry_run else "removed")

    async def run(urls: dict[str, str]) -> None:
        async for line in operating.prune(config, urls, names, watch, dry_run=dry_run):
            click.echo(msgspec.json.encode(line).decode())

    with preparing.databases(config, share=True) as (_, urls):
        asyncio.run(run(urls))


@click.command("kept-aside")
@CONFIG
@click.option("--realm", required=True, help="The realm.")
@click.option("--all", "also_settled", is_flag=True, help="Those, too, that have been restored or dismissed.")
@click.argument("identity", metavar="[ID]", type=click.UUID, required=False)
def kept_aside(path: Path, realm: str, identity: UUID | None, *, also_settled: bool) -> None:
    """List changes that could not be stored as rows; with an ID, print that change as it was sent.

    A JSON line each; on a terminal a table of the most important.
    """
    config = configuration.load(path)
    [name] = realms_named(config, path, realm)
    with preparing.databases(config, share=True) as (_, urls):
        if identity is None:
            lines = asyncio.run(operating.kept_aside(config, urls, name, also_settled=also_settled))
            tables.show(_COLUMNS, lines, as_json=not sys.stdout.isatty())
            return
        change = asyncio.run(operating.kept_change(config, urls, name, identity))
    if change is None:
        raise ConfigError(f"Realm {name} keeps no change {identity} aside, or not its data")
    click.echo(change)
