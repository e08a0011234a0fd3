"""How far a command is: a bar on the terminal, where it takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO

import click

_PATIENCE = 1.0
_OFTEN = 0.2
"""Seconds between two that are shown."""


class Bar:
    """Nothing is shown where standard error is no terminal."""

    def __init__(self, label: str, stack: ExitStack) -> None:
        self._label, self._stack = label, stack
        self._bar: Any = None
        self._done = self._total = 0
        self._shown_from = time.monotonic() + _PATIENCE

    def begin(self, total: int) -> None:
        """So much is to be done."""
        self._total = total

    def advance(self, number: int) -> None:
        """So much more is done."""
        self._done += number
        if self._bar is not None:
            self._bar.update(number)
        elif self._total and sys.stderr.isatty() and time.monotonic() >= self._shown_from:
            shown = click.progressbar(length=self._total, label=self._label, file=sys.stderr)
            self._bar = self._stack.enter_context(shown)
            self._bar.update(self._done)


class Amount:
    """Where nobody knows how much there is."""

    def __init__(self, label: str, unit: str, *, wanted: bool) -> None:
        self._label, self._unit = label, unit
        self._wanted = wanted
        self._done = 0.0
        self._next = time.monotonic() + _PATIENCE
        self.shown = False

    def advance(self, number: float) -> None:
        """So much more is done."""
        self._done += number
        if self._wanted and time.monotonic() >= self._next:
            click.echo(f"\r{self._label}: {self._done:,.0f} {self._unit}", err=True, nl=False)
            self.shown, self._next = True, time.monotonic() + _OFTEN


@contextmanager
def amount(label: str, unit: str, beside: TextIO | None = None) -> Iterator[Amount]:
    """`beside`: where the command writes meanwhile; nothing is shown in between where that is a terminal, too."""
    alone = beside is None or not beside.isatty()
    found = Amount(label, unit, wanted=alone and sys.stderr.isatty())
    try:
        yield found
    finally:
        if found.shown:
            click.echo(err=True)


@contextmanager
def bar(label: str) -> Iterator[Bar]:
    with ExitStack() as stack:
        yield Bar(label, stack)
