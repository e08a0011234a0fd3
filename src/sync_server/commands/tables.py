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
_WHOLE = {"id", "trouble"}
"""Columns that are of no use in part: on a narrow terminal others give way."""


def show(columns: Sequence[str], lines: Iterable[Line], *, as_json: bool) -> None:
    """Print what is listed. `columns`: those of a table; JSON has all that the lines have."""
    if as_json:
        for line in lines:
            click.echo(msgspec.json.encode(line).decode())
    elif sys.stdout.isatty():
        _show_table(columns, lines)
    else:
        for line in lines:
            click.echo("\t".join(_text(line[column]) for column in columns))


def _show_table(columns: Sequence[str], lines: Iterable[Line]) -> None:
    from rich.console import Console  # noqa: PLC0415 - for terminals only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column in _WHOLE)
    for line in lines:
        table.add_row(*(Text(_text(line[column])) for column in columns))
    Console().print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return one_line(str(value))
