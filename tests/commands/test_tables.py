"""What lists look like on a terminal."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from sync_server.commands import tables


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_narrow_terminal_shows_ids_and_troubles_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no escape sequences
    line: dict[str, Any] = {
        "id": "e45cdc94-2e5b-4f0e-9d7c-0a1b2c3d4e5f",
        "user": "somebody.with.a.long.address@example.com",
        "name": "Ann's phone",
        "model": "Pixel 9 Pro",
        "last_sync": None,
        "behind": 1000,
        "kept_aside": 12,
        "trouble": "login_rejected",
    }
    tables.show(tuple(line), [line], as_json=False)
    shown = terminal.getvalue()
    assert line["id"] in shown
    assert "login_rejected" in shown
    assert all(len(each) <= 80 for each in shown.splitlines())
