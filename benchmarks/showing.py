"""A run's figures as Markdown, for docs/performance.md, as in `./bench show figures.json`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine
from figures import Figure, Target, short


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench show", description="Print the figures of a run as Markdown.")
    parser.add_argument("figures", type=Path, help="written by --json")
    document = json.loads(parser.parse_args(arguments).figures.read_text())
    print(machine.lines(document["machine"], document["postgres"], document["workers"]))
    print("| case | | target | measured | least - greatest | |\n| --- | --- | --- | --- | --- | --- |")
    for figure in document["figures"]:
        print(_line(figure))


def _line(document: dict[str, Any]) -> str:
    values, unit = document["values"], document["unit"]
    figure = Figure(
        document["case"], document["what"], f" {unit}" if unit else "", values, Target(**document["target"])
    )
    spread = f"{short(min(values))} - {short(max(values))}" if len(values) > 1 else ""
    target, measured = figure.target.text(figure.unit), f"{short(figure.median)}{figure.unit}"
    return f"| `{figure.case}` | {figure.what} | {target} | {measured} | {spread} | {document['verdict'].lower()} |"
