"""What commands list: a table on a terminal, tab-separated lines in a pipe, or a JSON object per line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
import msgspec

from sync_server.commands.options import one_line

JSON = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="A JSON object per line, with names. Else what goes to no terminal is tab-separated, without headings.",
)
Line = Mapping[str, Any]
NOTHING = "-"


def show(columns: Sequence[str], lines: Iterable[Line], *, as_json: bool) -> None:
    """Print what is listed. `columns`: those of a table; JSON has all that the lines have."""
    if as_json:
        for line in lines:
            click.echo(msgspec.json.encode(line).decode())
    elif sys.stdout.isatty():
        from sync_server.commands import terminal  # noqa: PLC0415 - rich takes long to import

        terminal.show([column.replace("_", " ") for column in columns], [_texts(columns, line) for line in lines])
    else:
        for line in lines:
            click.echo("\t".join(_texts(columns, line)))


def _texts(columns: Sequence[str], line: Line) -> list[str]:
    return [_text(line[column]) for column in columns]


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return one_line(str(value))
