"""What is shown of commands that take long."""

from __future__ import annotations

import io
import sys

import pytest

from sync_server.commands import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.amount("Writing", "KiB") as written:
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
