"""`sync-server backup` and `sync-server restore`."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from sync_server import backup as backups
from sync_server import config as configuration
from sync_server import preparing
from sync_server.backup import files
from sync_server.backup.archive import Count, Reader
from sync_server.commands import realms
from sync_server.commands.options import CONFIG, realms_named
from sync_server.commands.progress import bar
from sync_server.database import Tx
from sync_server.embedded import EmbeddedPostgres

_JSON = click.option("--json", "as_json", is_flag=True, help="What it holds, as JSON.")
_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""For a database that nobody needs afterwards."""


class _Backup(click.Group):
    """`backup FILE` is short for `backup take FILE`. A file called as a command is given with its directory: ./verify."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["take", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Backup, subcommand_metavar="[take] --realm R FILE | verify FILE")
def backup() -> None:
    """Write everything that a realm's database holds into a file, while devices sync; or verify such a file.

    \b
    sync-server backup --realm todos todos.backup
    sync-server backup --realm todos - | age -r <recipient> > todos.backup.age     encrypted
    sync-server backup verify todos.backup
    """  # noqa: D301 - click's mark for lines that are not to be wrapped


@backup.command(short_help="Write a backup into FILE.")
@CONFIG
@click.option("--realm", required=True, help="The realm.")
@click.option("--replace", is_flag=True, help="Write over a file that is there already.")
@_JSON
@click.argument("file")
def take(path: Path, realm: str, file: str, *, replace: bool, as_json: bool) -> None:
    """Write everything that a realm's database holds at this moment into FILE ("-": standard output).

    Devices go on syncing. The file is gzipped JSON Lines, can be read by its owner only, and is there when it is complete.
    It holds password hashes and what users wrote: keep it as you keep the database.
    """
    config = configuration.load(path)
    [name] = realms_named(config, path, realm)
    with (
        preparing.databases(config, share=True) as (_, urls),
        files.written(file, replace=replace) as stream,
        bar("Writing") as progress,
    ):
        settings = config.db.realms[name]
        counts = backups.take(name, settings.schema, urls[name], stream, progress, history=settings.history)
    _say(
        f"Realm {name} is in {file}" if file != files.PIPE else f"Realm {name} is written", counts, as_json, error=True
    )


@backup.command(short_help="See whether FILE can be restored.")
@click.option(
    "--url", help="A PostgreSQL URL where it may be restored to, in a schema of its own that is dropped again."
)
@_JSON
@click.argument("file")
def verify(url: str | None, file: str, *, as_json: bool) -> None:
    """Restore FILE ("-": standard input) into a scratch database, and compare what is there then with what was written.

    The scratch database is an embedded PostgreSQL in the directory for temporary files (TMPDIR), unless --url names another.
    """
    with files.read(file) as stream, _scratch(url) as scratch, bar("Restoring") as progress:
        restored = backups.verify(scratch, stream, progress)
    _say(f"{_title(restored)}: can be restored, and nothing is missing", restored.counts, as_json)


@click.command()
@CONFIG
@click.option("--realm", required=True, help="The realm to restore into, of whatever name; it must be empty.")
@_JSON
@click.argument("file")
def restore(path: Path, realm: str, file: str, *, as_json: bool) -> None:
    """Restore FILE ("-": standard input), all of it or nothing, into a realm that has nothing yet.

    Devices log in again by themselves and are sent everything once. docs/backup.md says what becomes of what they had synced
    after the backup was taken.
    """
    config = configuration.load(path)
    [name] = realms_named(config, path, realm)
    with (
        files.read(file) as stream,
        preparing.databases(config, share=True) as (_, urls),
        bar("Restoring") as progress,
    ):
        schema = config.db.realms[name].schema
        restored = backups.restore(schema, urls[name], stream, progress, end=functools.partial(_note, name=name))
    _say(f"{_title(restored)}: restored into realm {name}", restored.counts, as_json)
    if restored.head.history == "full" and config.db.realms[name].history != "full":
        click.echo(
            f'the realm had "history": "full" when the backup was taken, realm {name} has not: pushes will keep no data of '
            "earlier versions, and are not in the audit log. Change it in the configuration before devices sync",
            err=True,
        )


async def _note(tx: Tx, restored: Reader, name: str) -> None:
    told = {"taken_at": restored.head.taken_at, "of_realm": restored.head.realm}
    await realms.note(tx, name, "realm.restore", told)


@contextmanager
def _scratch(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="sync-server-verify-") as directory:
        embedded = EmbeddedPostgres(Path(directory) / "postgres", settings=_FAST)
        try:
            embedded.start()
            yield embedded.create_database("scratch")
        finally:
            embedded.stop()


def _title(backup: Reader) -> str:
    return f"Backup of realm {backup.head.realm}, taken at {backup.head.taken_at}"


def _say(title: str, counts: Mapping[str, Count], as_json: bool, *, error: bool = False) -> None:
    if as_json:
        content: dict[str, Any] = {table: count.rows for table, count in counts.items()}
        click.echo(msgspec.json.encode({"message": title, "rows": content}).decode(), err=error)
        return
    held = ", ".join(f"{table} {count.rows:,}" for table, count in counts.items() if count.rows)
    click.echo(f"{title}\n  {held or 'nothing'}", err=error)
