"""What commands list: a table on a terminal, tab-separated lines in a pipe, or a JSON object per line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from sync_server.commands.options import one_line

if TYPE_CHECKING:
    from rich.console import Console

JSON = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="A JSON object per line, with names. Else what goes to no terminal is tab-separated, without headings.",
)
Line = Mapping[str, Any]


_NOTHING = "-"
_BETWEEN = 2
"""Blanks between two columns."""


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
    """A table; where the terminal is too narrow for all of it, a paragraph for each line, so that nothing is cut off."""
    from rich.cells import cell_len  # noqa: PLC0415 - for terminals only
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    names = [column.replace("_", " ") for column in columns]
    rows = [[_text(line[column]) for column in columns] for line in lines]
    table, console = Table(*names, box=None, header_style="bold", pad_edge=False), Console()
    widths = [max(map(cell_len, cells)) for cells in zip(names, *rows, strict=True)]
    if sum(widths) + _BETWEEN * (len(widths) - 1) > console.width:
        _show_paragraphs(console, names, rows)
        return
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _show_paragraphs(console: Console, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.padding import Padding  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    for row in rows:
        console.print(Text(row[0], style="bold", overflow="fold"))
        told = (f"{name} {value}" for name, value in zip(names[1:], row[1:], strict=True) if value != _NOTHING)
        console.print(Padding(Text(", ".join(told), overflow="fold"), (0, 0, 0, 2)))


def _text(value: Any) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return one_line(str(value))
