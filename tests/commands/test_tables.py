"""What lists look like on a terminal."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest

from sync_server.commands import tables


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LINE: dict[str, Any] = {
    "id": "e45cdc94-2e5b-4f0e-9d7c-0a1b2c3d4e5f",
    "user": "somebody.with.a.long.address@example.com",
    "name": "Ann's phone",
    "model": "Pixel 9 Pro",
    "last_sync": None,
    "behind": 1000,
    "kept_aside": 12,
    "trouble": "login_rejected",
}


def shown(monkeypatch: pytest.MonkeyPatch, columns: int) -> list[str]:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    tables.show(tuple(LINE), [LINE], as_json=False)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


def test_a_wide_terminal_shows_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    heading, line = shown(monkeypatch, 180)
    assert heading.split() == ["id", "user", "name", "model", "last", "sync", "behind", "kept", "aside", "trouble"]
    assert line.startswith(LINE["id"])


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_narrow_terminal_cuts_nothing(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    lines = shown(monkeypatch, columns)
    assert all(len(each) <= columns for each in lines)
    said = " ".join(" ".join(lines).split())
    for value in (value for value in LINE.values() if value is not None):
        assert str(value) in said


def test_a_narrow_terminal_has_a_paragraph_for_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = shown(monkeypatch, 80)
    assert first.rstrip() == LINE["id"]
    assert others[0].startswith("  user somebody.with.a.long.address@example.com, name Ann's phone")
    assert "last sync" not in "".join(others), "there is none"
