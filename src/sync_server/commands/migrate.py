"""`sync-server migrate`: the databases' schemas."""

from __future__ import annotations

from pathlib import Path

import click

from sync_server import config as configuration
from sync_server import preparing
from sync_server.commands.options import CONFIG, end_with, realms_named
from sync_server.migrating import Migrating


@click.command()
@CONFIG
@click.option("--realm", help="Only this realm.  [default: all]")
def migrate(path: Path, realm: str | None) -> None:
    """Bring the databases up to date, as `serve` does when it starts.

    Safe to run while servers are running, and by several at once: each migration is applied once. Useful where the
    server's own role may not create tables: run it with a configuration that names the owner's.
    """
    config = configuration.load(path)
    realms = realms_named(config, path, realm)
    with preparing.databases(config, share=True) as (_, urls):
        problems = Migrating().run(config, urls, realms)
    for name in realms:
        if name not in problems:
            click.echo(f"Realm {name}: up to date")
    end_with([f"Realm {name}: {problem}" for name, problem in problems.items()])
