"""What commands list, on a terminal. Apart from tables.py, as it needs rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sync_server.commands.tables import NOTHING

_BETWEEN = 2
"""Blanks between two columns."""


def show(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; where the terminal is too narrow for all of it, a paragraph for each row, so that nothing is cut off."""
    console = Console()
    widths = [max(map(cell_len, cells)) for cells in zip(names, *rows, strict=True)]
    if sum(widths) + _BETWEEN * (len(widths) - 1) > console.width:
        for row in rows:
            _show_paragraph(console, names, row)
        return
    table = Table(*names, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _show_paragraph(console: Console, names: Sequence[str], row: Sequence[str]) -> None:
    console.print(Text(row[0], style="bold", overflow="fold"))
    told = (f"{name} {value}" for name, value in zip(names[1:], row[1:], strict=True) if value != NOTHING)
    console.print(Padding(Text(", ".join(told), overflow="fold"), (0, 0, 0, 2)))
