"""How far a command is: a line on the terminal that is written over, from its second second on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

_FIRST = 1.0
_PAUSE = 0.2


@contextmanager
def counting(label: str) -> Iterator[Callable[[int], None]]:
    """What is to be told of each so many that are done. Nothing is shown where standard error is no terminal."""
    done, said, next_time = 0, False, time.monotonic() + _FIRST

    def advance(number: int) -> None:
        nonlocal done, said, next_time
        done += number
        if sys.stderr.isatty() and time.monotonic() >= next_time:
            said, next_time = True, time.monotonic() + _PAUSE
            click.echo(f"\r{label}: {done:,}", err=True, nl=False)

    try:
        yield advance
    finally:
        if said:
            click.echo("", err=True)
