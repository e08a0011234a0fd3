"""`sync-server adopt`: taking over a sync_server_ts database."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from sync_server import adoption, preparing
from sync_server import config as configuration
from sync_server.commands.options import CONFIG, one_line, realms_named


@click.command()
@CONFIG
@click.option("--realm", required=True, help="The realm whose database has the old tables.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--json", "as_json", is_flag=True, help="The report as JSON, with everything that could not be taken over."
)
@click.option(
    "--send-all-again", is_flag=True, help="Send devices all that others wrote, not just what they may have missed."
)
def adopt(path: Path, realm: str, *, dry_run: bool, as_json: bool, send_all_again: bool) -> None:
    """Take over what a sync_server_ts has left in a realm's database: accounts, clients, rows, deletes.

    The old tables are only read. Safe to repeat, to interrupt, and to run while the old and the new server run: a
    second run takes what came since. `serve` does it by itself when it first starts on such a database.
    """
    config = configuration.load(path)
    [name] = realms_named(config, path, realm)
    with preparing.databases(config, share=True) as (_, urls), adoption.progress_bar() as progress:
        report = adoption.adopt(
            name, config.db.realms[name], urls[name], progress, dry_run=dry_run, all_again=send_all_again
        )
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        for line in report.lines():
            click.echo(one_line(line))
