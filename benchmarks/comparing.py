"""Two runs beside each other, as in `./bench compare before.json after.json`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import short
from report import aligned

_HEAD = ("case", "", "before", "after", "change", "", "verdict")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench compare", description="Show what changed between two runs.")
    parser.add_argument("before", type=Path, help="written by --json")
    parser.add_argument("after", type=Path)
    options = parser.parse_args(arguments)
    before, after = (json.loads(path.read_text()) for path in (options.before, options.after))
    for name, document in (("before", before), ("after", after)):
        load, versions = document["machine"]["load_average"][0], document["machine"]["versions"]
        print(f"{name}: sync-server {versions['sync-server']}, {document['workers']} worker(s), load average {load}")
    print("\n" + table(before["figures"], after["figures"]))


def table(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> str:
    """Those figures that both runs have."""
    known = {(figure["case"], figure["what"]): figure for figure in before}
    pairs = [(known[key], figure) for figure in after if (key := (figure["case"], figure["what"])) in known]
    return aligned([_HEAD, *(_line(*pair) for pair in pairs)])


def _line(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, ...]:
    was, is_ = before["median"], after["median"]
    apart = max(after["values"]) < min(before["values"]) or min(after["values"]) > max(before["values"])
    return (
        after["case"],
        after["what"],
        f"{short(was)} {before['unit']}".rstrip(),
        f"{short(is_)} {after['unit']}".rstrip(),
        f"{100 * (is_ / was - 1):+.0f} %" if was else "",
        "" if apart else "(within the spread)",
        after["verdict"] if before["verdict"] == after["verdict"] else f"{before['verdict']} -> {after['verdict']}",
    )
