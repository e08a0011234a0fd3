"""What is shown of commands that take long."""

from __future__ import annotations

import io
import sys

import pytest

from backup.content import fill
from commands.conftest import Configured
from sync_server.commands import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, beside: io.StringIO | None = None) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.amount("Writing", "KiB", beside) as written:
        written.advance(1000)
        written.advance(234.5)
    return stream.getvalue()


def test_nothing_is_shown_within_the_first_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal()) == ""


def test_an_amount_is_shown_that_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", -1.0)
    monkeypatch.setattr(progress, "_OFTEN", -1.0)
    assert shown(monkeypatch, Terminal()) == "\rWriting: 1,000 KiB\rWriting: 1,234 KiB\n"
    assert shown(monkeypatch, io.StringIO()) == "", "no terminal"
    assert shown(monkeypatch, Terminal(), io.StringIO()) != "", "what is written goes elsewhere"
    assert shown(monkeypatch, Terminal(), Terminal()) == "", "it would be in the middle of what is written"


def test_pruning_and_the_export_of_the_audit_log_show_how_far_they_are(
    configured: Configured, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database_url)
    command = configured(todos=database_url)
    command.run("user", "create", "ben@example.com", "--realm", "todos", "--invite")
    monkeypatch.setattr(progress, "_PATIENCE", -1.0)
    monkeypatch.setattr(progress, "_OFTEN", -1.0)
    monkeypatch.setattr(
        "click.testing._NamedTextIOWrapper.isatty", lambda stream: stream.name == "<stderr>", raising=False
    )
    assert "\rRealm todos: 1 found\n" in command.warning("prune", "--dry-run")
    assert "\rRealm todos: 0 removed\rRealm todos: 1 removed" in command.warning("prune")
    assert "\rRealm todos: 0 KiB\n" in command.warning("audit", "export", "--realm", "todos")
