"""`sync-server check`: whether the server could run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from sync_server import checking, keys, precautions, preparing
from sync_server import config as configuration
from sync_server.checking import Problem
from sync_server.commands.options import CONFIG, end_with
from sync_server.config import Config
from sync_server.embedded import EmbeddedError
from sync_server.mail import check as mail_check


@click.command()
@CONFIG
def check(path: Path) -> None:
    """See whether the server could run: configuration, every database, mail templates, the SMTP server.

    Says what is wrong and how to mend it, and ends with 1 if anything is; what is careless is said, too. Applies no
    migration and sends no mail; an embedded PostgreSQL that does not run is started, and stopped again. Safe to run
    beside a running server.
    """
    config = configuration.load(path)
    click.echo(f"{path}: valid")
    if advice := keys.advice(config):
        click.echo(f"Secrets: {advice}")
    made = keys.made(config)
    fingerprint = made.fingerprint if made is not None else None
    if fingerprint is not None:
        click.echo(f"Secrets: their fingerprint is {fingerprint}")
    for sentence in precautions.advice(config, config.server.host):
        click.echo(f"Take care: {sentence}")
    problems = [*_check_databases(config, fingerprint), *_check_mail(config)]
    click.echo(f"{len(problems)} problem{'' if len(problems) == 1 else 's'} found" if problems else "All is well")
    end_with(problems)


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
