"""What a command imports before it does anything: whoever runs one in a script, or waits for a server, waits for that."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from sync_server import cli

SHOW = "import sys; from sync_server import cli; cli.commands.get_command(None, {!r}); print(*sys.modules)"


def imported(command: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", SHOW.format(command)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_list_of_commands_needs_none_of_them() -> None:
    assert not imported("") & {"litestar", "uvicorn", "jinja2", "psycopg_pool", "sync_server.commands.serve"}


def test_serve_does_not_import_other_commands() -> None:
    found = imported("serve")
    assert "uvicorn" in found
    assert {name for name in found if name.startswith("sync_server.commands.")} == {
        "sync_server.commands.options",
        "sync_server.commands.serve",
    }


@pytest.mark.parametrize("name", cli.commands.list_commands(click.Context(cli.commands)))
def test_every_command_is_where_the_list_says(name: str) -> None:
    command = cli.commands.get_command(click.Context(cli.commands), name)
    assert command is not None
    assert command.name == name
    assert command.help
