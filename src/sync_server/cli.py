"""The command line: which commands there are. What they do is in commands/, of which only what is called is imported."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper

import click

from sync_server import logs, signals
from sync_server.commands.options import one_line
from sync_server.complaint import Complaint

_COMMANDS = {
    "serve": ("serve:serve", "Run the server."),
    "check": ("check:check", "See whether configuration, databases and mail server work."),
    "migrate": ("migrate:migrate", "Bring the databases up to date without serving."),
    "adopt": ("adopt:adopt", "Take over the data of a sync_server_ts."),
    "realm": ("realm:realm", "List realms, add one to the configuration, check it, drop it."),
    "user": ("user:user", "List, make, change and remove the users of a realm."),
    "device": ("device:device", "List the devices of a realm's users, and what troubles them; remove one."),
    "owner": ("owner:owner", "Make somebody who may do everything in all realms."),
    "backup": ("backup:backup", "Write a realm into a file, while devices sync; or verify such a file."),
    "restore": ("backup:restore", "Restore such a file into an empty realm."),
    "prune": ("prune:prune", "Remove what retention lets go, now."),
    "audit": ("audit:audit", "Show, verify and export the audit log."),
    "kept-aside": ("prune:kept_aside", "Show changes that could not be stored as rows."),
}
"""Where each command is, and what the list of them says of it."""


class _Commands(click.Group):
    """Imports a command when it is called for: `serve` needs the most, and nobody is to wait for it who calls another."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in _COMMANDS:
            return None
        module, _, function = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"sync_server.commands.{module}"), function)
        gc.freeze()  # what is imported stays: neither a collection nor the end of the process is to look through it
        gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("sync-server"), prog_name="sync-server")
def commands() -> None:
    """Sync server for apps built with sync_client.

    A realm is an app or a group of users. It is named in the URL of each call and has a database of its own.
    """


def main() -> None:
    """The command `sync-server`. What an operator can mend is one line and exit code 1, never a traceback."""
    logs.configure()
    signals.raise_ended()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may have what the terminal cannot show
    try:
        commands.main()
    except Complaint as exc:
        click.echo(f"sync-server: {one_line(str(exc))}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
