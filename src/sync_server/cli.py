"""The command line: one short function per command."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Collection
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from uuid import UUID

import click
import msgspec

from sync_server import adoption, checking, connection_url, keys, logs, preparing, serving, signals
from sync_server import config as configuration
from sync_server.adoption import AdoptionError
from sync_server.checking import Problem
from sync_server.config import Config, ConfigError
from sync_server.embedded import EmbeddedError
from sync_server.errors import Unavailable
from sync_server.mail import check as mail_check
from sync_server.migrating import Migrating
from sync_server.preparing import Databases
from sync_server.reloading import PATIENCE, Reloading
from sync_server.retention import command as operating
from sync_server.serving import ServeError, Serving

_NAMED = 3
"""Realms whose problems are told when none can be served."""

_CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("config.json"),
    envvar="SYNC_SERVER_CONFIG",
    show_envvar=True,
    show_default=True,
    help="The configuration file. Every key is described in the README.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("sync-server"), prog_name="sync-server")
def commands() -> None:
    """Sync server for apps built with sync_client.

    \b
    sync-server serve      run the server
    sync-server check      see whether configuration, databases and mail server work
    sync-server migrate    bring the databases up to date without serving
    sync-server adopt      take over the data of a sync_server_ts
    sync-server prune      remove what retention lets go, now
    sync-server kept-aside show changes that could not be stored as rows

    A realm is an app or a group of users. It is named in the URL of each call and has a database of its own.
    """  # noqa: D301 - click's mark for lines that are not to be wrapped


@commands.command()
@_CONFIG
@click.option("--host", help="Address to listen on.  [default: server.host, 0.0.0.0]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.  [default: the environment's PORT, server.port, 3000]",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.  [default: server.workers, 1]")
def serve(path: Path, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Starts the embedded PostgreSQL if a realm asks for it, applies pending migrations and serves every realm of the
    configuration. A realm whose database is down answers 503 until it is back. When told to end, the server lets
    running requests end, for server.grace seconds.

    \b
    sync-server serve                                        ./config.json, port 3000
    sync-server serve --config /etc/sync.json --workers 4    four processes share the work
    PORT=8080 sync-server serve --host 127.0.0.1             behind a proxy on this machine
    """  # noqa: D301 - click's mark for lines that are not to be wrapped
    hung_up = signals.note_hangups()
    config = configuration.load(path)
    try:
        _serve(path, config, hung_up, host or config.server.host, config.server.port if port is None else port, workers)
    except signals.Ended:
        click.echo("sync-server was told to end while it started")
    else:
        click.echo("sync-server has ended")


def _serve(path: Path, config: Config, hung_up: threading.Event, host: str, port: int, workers: int | None) -> None:
    server_keys = keys.load(config)
    listening = serving.listen(host, port)
    databases, migrating = Databases(), Migrating(server_keys.fingerprint)
    try:
        urls = databases.urls(config)
        down = _migrate(config, urls, migrating)
        _say_what_is_served(config, listening.getsockname(), down)
        server = Serving(config, urls, frozenset(down), listening, workers or config.server.workers)
        reloading = Reloading(lambda: configuration.load(path), databases, migrating, config, urls, down)
        with (
            preparing.background(preparing.keep_running(databases), "watch"),
            preparing.background(reloading.watch(hung_up, server.replace), "realms"),
        ):
            server.run()
    finally:
        databases.stop()


def _migrate(config: Config, urls: dict[str, str], migrating: Migrating) -> dict[str, str]:
    """Migrate every realm; what is wrong with those that cannot be served yet. Raises ServeError when none can be."""
    problems = migrating.run(config, urls, urls, PATIENCE, one_at_least=True)
    lines = [f"realm {name}: {problem}" for name, problem in problems.items()]
    if len(lines) == len(urls):
        others = f"; and {len(lines) - _NAMED} others" if len(lines) > _NAMED else ""
        raise ServeError(f"No realm can be served: {'; '.join(lines[:_NAMED])}{others}")
    for line in lines:
        click.echo(f"sync-server: {_one_line(line)}", err=True)
    return problems


def _say_what_is_served(config: Config, address: tuple[str, int], down: Collection[str]) -> None:
    host, port = address[:2]
    click.echo(f"sync-server {version('sync-server')} listens on http://{f'[{host}]' if ':' in host else host}:{port}")
    for name, settings in config.db.realms.items():
        kind = "embedded PostgreSQL" if settings.embedded else "PostgreSQL URL"
        click.echo(f"  realm {name} ({kind}{', down: answers 503 until it is back' if name in down else ''})")
    shared: dict[object, list[str]] = {}
    for name, settings in config.db.realms.items():
        if not settings.embedded:
            shared.setdefault((connection_url.meaning(settings.url.reveal()), settings.schema), []).append(name)
    for names in shared.values():
        if len(names) > 1:
            click.echo(f"  realms {', '.join(names)} name the same database and share users and rows")
    if advice := keys.advice(config):
        click.echo(f"  {advice}")
    if not config.email.smtp:
        click.echo(f"  no SMTP server is configured: mails are written to {config.data_dir / 'outbox'}")


@commands.command()
@_CONFIG
@click.option("--realm", help="Only this realm.  [default: all]")
def migrate(path: Path, realm: str | None) -> None:
    """Bring the databases up to date, as `serve` does when it starts.

    Safe to run while servers are running, and by several at once: each migration is applied once. Useful where the
    server's own role may not create tables: run it with a configuration that names the owner's.
    """
    config = configuration.load(path)
    realms = _realms(config, path, realm)
    with preparing.databases(config, share=True) as (_, urls):
        problems = Migrating().run(config, urls, realms)
    for name in realms:
        if name not in problems:
            click.echo(f"Realm {name}: up to date")
    _end_with([f"Realm {name}: {problem}" for name, problem in problems.items()])


@commands.command()
@_CONFIG
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
    name = realm.lower()
    if name not in config.db.realms:
        raise ConfigError(f"{path}: There is no realm {realm}; there are: {', '.join(config.db.realms)}")
    with preparing.databases(config, share=True) as (_, urls), adoption.progress_bar() as progress:
        report = adoption.adopt(
            name, config.db.realms[name], urls[name], progress, dry_run=dry_run, all_again=send_all_again
        )
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        for line in report.lines():
            click.echo(_one_line(line))


@commands.command()
@_CONFIG
@click.option("--realm", help="Only this realm.  [default: all]")
@click.option("--dry-run", is_flag=True, help="Only say how much would be removed.")
def prune(path: Path, realm: str | None, *, dry_run: bool) -> None:
    """Remove what may go by the configuration's `retention`, and what has expired; print how much, a JSON line per realm.

    A running server does this by itself every hour or so. Safe to run beside it: portions are small, and what both
    want to remove is removed once.
    """
    config = configuration.load(path)
    names = _realms(config, path, realm)

    async def run(urls: dict[str, str]) -> None:
        async for line in operating.prune(config, urls, names, dry_run=dry_run):
            click.echo(msgspec.json.encode(line).decode())

    with preparing.databases(config, share=True) as (_, urls):
        asyncio.run(run(urls))


@commands.command("kept-aside")
@_CONFIG
@click.option("--realm", required=True, help="The realm.")
@click.argument("identity", metavar="[ID]", type=click.UUID, required=False)
def kept_aside(path: Path, realm: str, identity: UUID | None) -> None:
    """List changes that could not be stored as rows, a JSON line each; with an ID, print that change as it was sent."""
    config = configuration.load(path)
    [name] = _realms(config, path, realm)
    with preparing.databases(config, share=True) as (_, urls):
        if identity is None:
            for line in asyncio.run(operating.kept_aside(config, urls, name)):
                click.echo(msgspec.json.encode(line).decode())
            return
        change = asyncio.run(operating.kept_change(config, urls, name, identity))
    if change is None:
        raise ConfigError(f"Realm {name} keeps no change {identity} aside, or not its data")
    click.echo(change)


def _realms(config: Config, path: Path, realm: str | None) -> list[str]:
    """The realms that a command is for. Raises ConfigError when there is no such realm."""
    if realm is not None and realm.lower() not in config.db.realms:
        raise ConfigError(f"{path}: There is no realm {realm}; there are: {', '.join(config.db.realms)}")
    return [realm.lower()] if realm is not None else list(config.db.realms)


@commands.command()
@_CONFIG
def check(path: Path) -> None:
    """See whether the server could run: configuration, every database, mail templates, the SMTP server.

    Says what is wrong and how to mend it, and ends with 1 if anything is. Applies no migration and sends no mail;
    an embedded PostgreSQL that does not run is started, and stopped again. Safe to run beside a running server.
    """
    config = configuration.load(path)
    click.echo(f"{path}: valid")
    if advice := keys.advice(config):
        click.echo(f"Secrets: {advice}")
    made = keys.made(config)
    fingerprint = made.fingerprint if made is not None else None
    if fingerprint is not None:
        click.echo(f"Secrets: their fingerprint is {fingerprint}")
    problems = [*_check_databases(config, fingerprint), *_check_mail(config)]
    click.echo(f"{len(problems)} problem{'' if len(problems) == 1 else 's'} found" if problems else "All is well")
    _end_with(problems)


def _check_databases(config: Config, fingerprint: str | None) -> list[str]:
    problems = []
    try:
        with preparing.databases(config, share=True) as (_, urls):
            for name, url in urls.items():
                try:
                    click.echo(f"Realm {name}: {checking.check_database(config.db.realms[name], url, fingerprint)}")
                except Problem as exc:
                    problems.append(f"Realm {name}: {exc}")
    except EmbeddedError as exc:
        problems.append(f"Embedded PostgreSQL: {exc}")
    return problems


def _check_mail(config: Config) -> list[str]:
    problems = mail_check.problems(config)
    if not config.email.smtp:
        click.echo(f"Mail: no SMTP server (email.smtp); mails are written to {config.data_dir / 'outbox'}")
    elif problem := asyncio.run(mail_check.check_smtp(config)):
        problems = [*problems, problem]
    else:
        click.echo(f"Mail: {config.email.smtp} takes our mails")
    return problems


def _end_with(problems: list[str]) -> None:
    for problem in problems:
        click.echo(_one_line(problem), err=True)
    sys.exit(1 if problems else 0)


def _one_line(text: str) -> str:
    """`text`, whatever it quotes, as one line that does nothing to a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def main() -> None:
    """The command `sync-server`. What an operator can mend is one line and exit code 1, never a traceback."""
    logs.configure()
    signals.raise_ended()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may have what the terminal cannot show
    try:
        commands.main()
    except (AdoptionError, ConfigError, EmbeddedError, ServeError, Unavailable) as exc:
        click.echo(f"sync-server: {_one_line(str(exc))}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
