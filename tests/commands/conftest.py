"""The command line, run in this process on a realm's database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from postgres import served
from server.operating import config_with
from sync_server import cli
from sync_server.complaint import Complaint


class CommandLine:
    """Runs commands with a configuration, as somebody who is at no terminal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What a command prints that ends well."""
        result = self._invoke(arguments, stdin)
        assert result.exit_code == 0, (result.output, result.exception)
        return str(result.stdout)

    def warning(self, *arguments: str) -> str:
        """What a command that ends well says beside what it prints."""
        result = self._invoke(arguments, "")
        assert result.exit_code == 0, (result.output, result.exception)
        return str(result.stderr)

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]

    def complaint(self, *arguments: str, stdin: str = "") -> str:
        """The line with which a command ends that cannot do what it is to do."""
        result = self._invoke(arguments, stdin)
        assert isinstance(result.exception, Complaint), (result.output, result.exception)
        return str(result.exception)

    def refuses(self, *arguments: str, stdin: str = "") -> None:
        """The command ends without doing anything, since nobody confirmed it."""
        assert self._invoke(arguments, stdin).exit_code == 1

    def _invoke(self, arguments: tuple[str, ...], stdin: str) -> Any:
        return CliRunner(env={"SYNC_SERVER_CONFIG": str(self.path)}).invoke(cli.commands, arguments, input=stdin)


Configured = Callable[..., CommandLine]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """A command line with these realms."""

    def write(**realms: Any) -> CommandLine:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(served(config_with(realms)), indent=2))
        return CommandLine(path)

    return write
