"""`sync-server prune` and `sync-server kept-aside`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import click
import msgspec

from sync_server import config as configuration
from sync_server import preparing
from sync_server.commands.options import CONFIG, realms_named
from sync_server.config import ConfigError
from sync_server.retention import command as operating


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

    async def run(urls: dict[str, str]) -> None:
        async for line in operating.prune(config, urls, names, dry_run=dry_run):
            click.echo(msgspec.json.encode(line).decode())

    with preparing.databases(config, share=True) as (_, urls):
        asyncio.run(run(urls))


@click.command("kept-aside")
@CONFIG
@click.option("--realm", required=True, help="The realm.")
@click.argument("identity", metavar="[ID]", type=click.UUID, required=False)
def kept_aside(path: Path, realm: str, identity: UUID | None) -> None:
    """List changes that could not be stored as rows, a JSON line each; with an ID, print that change as it was sent."""
    config = configuration.load(path)
    [name] = realms_named(config, path, realm)
    with preparing.databases(config, share=True) as (_, urls):
        if identity is None:
            for line in asyncio.run(operating.kept_aside(config, urls, name)):
                click.echo(msgspec.json.encode(line).decode())
            return
        change = asyncio.run(operating.kept_change(config, urls, name, identity))
    if change is None:
        raise ConfigError(f"Realm {name} keeps no change {identity} aside, or not its data")
    click.echo(change)
