"""How far an adoption is: a bar on a terminal, else a line now and then; in the log when a server does it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import click
import structlog

log = structlog.get_logger()
_PAUSE = 5.0
"""Seconds between two lines."""


class Progress(Protocol):
    """Told how far a run is, in lines of the old server's log."""

    def begin(self, lines: int) -> None: ...
    def advance(self, lines: int) -> None: ...


class _Lines:
    """Says every few seconds how far it is."""

    def __init__(self) -> None:
        self._lines = self._done = 0
        self._said = time.monotonic()

    def begin(self, lines: int) -> None:
        self._lines = lines
        self.say(0, lines)

    def advance(self, lines: int) -> None:
        self._done += lines
        if time.monotonic() - self._said >= _PAUSE:
            self._said = time.monotonic()
            self.say(self._done, self._lines)

    def say(self, done: int, lines: int) -> None:
        click.echo(f"{done:,} of {lines:,} lines of the log", err=True)


class LoggedProgress(_Lines):
    def __init__(self, realm: str) -> None:
        super().__init__()
        self._realm = realm

    def say(self, done: int, lines: int) -> None:
        log.info("adopting", realm=self._realm, lines=done, of=lines)


class _Bar:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def begin(self, lines: int) -> None:
        self._bar = self._stack.enter_context(
            click.progressbar(length=lines, label="Taking over", file=sys.stderr, show_pos=True)
        )

    def advance(self, lines: int) -> None:
        self._bar.update(lines)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """On standard error, which the report does not go to."""
    with ExitStack() as stack:
        yield _Bar(stack) if sys.stderr.isatty() else _Lines()
