"""How fast the server is, beside PostgreSQL alone: `./bench` runs all cases, `./bench --help` shows what else there is.

Real server processes on a real PostgreSQL that makes every commit durable, driven over HTTP by devices that do what
sync_client does. Every answer is checked: a wrong one ends the run with an error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comparing
import plots
import report
import showing
from cases import CASES
from connection import WrongAnswer
from figures import Figure
from world import World, made


def main() -> None:
    match sys.argv[1:]:
        case ["compare", *arguments]:
            comparing.main(arguments)
        case ["show", *arguments]:
            showing.main(arguments)
        case ["plots", *arguments]:
            plots.main(arguments)
        case arguments:
            _run(_options(arguments))


def _run(options: argparse.Namespace) -> None:
    figures: list[Figure] = []
    with made(options.directory, short=options.short, workers=options.workers) as (world, document):
        for name in options.only or CASES:
            figures += _measure(world, name)
            if options.json:  # case by case: who ends a long run keeps what is there
                document["figures"] = [figure.document() for figure in figures]
                options.json.write_text(json.dumps(document, indent=2) + "\n")
    print("\n" + report.table(figures, judged=not options.short))
    print("\n" + "\n".join(line for figure in figures if (line := report.details(figure))))


def _measure(world: World, name: str) -> list[Figure]:
    print(f"{name} …", end="", flush=True)
    begun = time.monotonic()
    figures = list(CASES[name](world))
    print(f" {time.monotonic() - begun:.0f} s", flush=True)
    return figures


def _options(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure the server beside PostgreSQL alone. `bench compare A.json B.json` shows what changed, "
        "`bench plots` draws how the cost grows.",
    )
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help=f"some of: {', '.join(CASES)}")
    parser.add_argument(
        "--short", action="store_true", help="small sizes: shows that the answers are right, judges no times"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument("--workers", type=int, default=1, help="the server's worker processes (default: 1)")
    parser.add_argument(
        "--directory", type=Path, help="where the database is made (default: the system's for such files)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except WrongAnswer as exc:
        sys.exit(f"\nbench: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)
