"""What commands have in common: the configuration's option, the choice of a realm, how problems are told."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sync_server.config import Config, ConfigError

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("config.json"),
    envvar="SYNC_SERVER_CONFIG",
    show_envvar=True,
    show_default=True,
    help="The configuration file. Every key is described in the README.",
)


def realms_named(config: Config, path: Path, realm: str | None) -> list[str]:
    """The realms that a command is for, all without a name. Raises ConfigError when there is no such realm."""
    if realm is not None and realm.lower() not in config.db.realms:
        raise ConfigError(f"{path}: There is no realm {realm}; there are: {', '.join(config.db.realms)}")
    return [realm.lower()] if realm is not None else list(config.db.realms)


def end_with(problems: list[str]) -> None:
    """End the command; with 1 if there is a problem."""
    for problem in problems:
        click.echo(one_line(problem), err=True)
    sys.exit(1 if problems else 0)


def counted(number: int, noun: str) -> str:
    """Such as "1 line" and "1,200 lines"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """`text`, whatever it quotes, as one line that does nothing to a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
