"""How the cost grows, drawn, as in `./bench plots`: against rows in the space, versions per row, rows per push, users,
realms, workers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from growth import CURVES, Curve
from world import made

TARGET = Path(__file__).resolve().parent.parent / "docs" / "performance"


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    with made(options.directory, short=options.short) as (world, document):
        curves: list[Curve] = []
        for name in options.only or CURVES:
            print(f"{name} …", end="", flush=True)
            begun = time.monotonic()
            curves += CURVES[name](world)
            print(f" {time.monotonic() - begun:.0f} s", flush=True)
    if options.json:
        document["curves"] = [curve._asdict() for curve in curves]
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if not options.short:
        options.into.mkdir(parents=True, exist_ok=True)
        for curve in curves:
            _draw(curve, options.into / f"{curve.name}.svg")


def _options(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(prog="bench plots", description="Draw how the cost grows; takes some minutes.")
    parser.add_argument("--only", nargs="+", choices=CURVES, metavar="CURVE", help=f"some of: {', '.join(CURVES)}")
    parser.add_argument("--short", action="store_true", help="small sizes, and nothing is drawn: shows that all works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is drawn to this file, too")
    parser.add_argument("--into", type=Path, default=TARGET, help="where the files go (default: docs/performance)")
    parser.add_argument(
        "--directory", type=Path, help="where the database is made (default: the system's for such files)"
    )
    return parser.parse_args(arguments)


def _draw(curve: Curve, file: Path) -> None:
    """The medians as lines, the spread as bands; the same points give the same file."""
    import matplotlib as mpl  # noqa: PLC0415 - all else does without it
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams.update({"svg.hashsalt": "sync-server", "svg.fonttype": "none", "font.size": 10})
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in curve.lines.items():
        xs = sorted(points)
        (line,) = axes.plot(xs, [statistics.median(points[x]) for x in xs], marker="o", markersize=4, label=name)
        low, high = ([choose(points[x]) for x in xs] for choose in (min, max))
        axes.fill_between(xs, low, high, alpha=0.2, color=line.get_color(), linewidth=0)
    axes.set(title=curve.title, xlabel=curve.x, ylabel=curve.y, xscale="log")
    if curve.name == "push":
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})
