"""`sync-server serve`."""

from __future__ import annotations

import threading
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

import click

from sync_server import config as configuration
from sync_server import connection_url, keys, precautions, preparing, serving, signals
from sync_server.accounts import first_owner
from sync_server.accounts.first_owner import FirstOwner
from sync_server.commands.options import CONFIG, one_line
from sync_server.config import Config
from sync_server.errors import Unavailable
from sync_server.migrating import Migrating
from sync_server.preparing import Databases
from sync_server.reloading import PATIENCE, Reloading
from sync_server.serving import ServeError, Serving

_NAMED = 3
"""Realms whose problems are told when none can be served."""


@click.command()
@CONFIG
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
    owner = first_owner.of_environment()
    server_keys = keys.load(config)
    listening = serving.listen(host, port)
    databases, migrating = Databases(), Migrating(server_keys.fingerprint)
    try:
        urls = databases.urls(config)
        down = _migrate(config, urls, migrating)
        _say_what_is_served(config, listening.getsockname(), down)
        if owner is not None:
            _make_owner(config, urls, down, owner)
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
        click.echo(f"sync-server: {one_line(line)}", err=True)
    return problems


def _make_owner(config: Config, urls: dict[str, str], down: Collection[str], owner: FirstOwner) -> None:
    try:
        if config.owners_realm in down:
            raise Unavailable
        if first_owner.make(config, urls, owner):
            click.echo(f"  the owner with the address in INITIAL_EMAIL has been made in realm {config.owners_realm}")
    except Unavailable:
        problem = f"realm {config.owners_realm} is down: INITIAL_EMAIL was of no use; start again when it is back"
        click.echo(f"sync-server: {problem}", err=True)


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
    for sentence in precautions.advice(config, host):
        click.echo(f"  take care: {sentence}")
    if not config.email.smtp:
        click.echo(f"  no SMTP server is configured: mails are written to {config.data_dir / 'outbox'}")
