"""How fast the server is, beside PostgreSQL alone, as in `.venv/bin/python benchmarks/run.py --json figures.json`.

A real server process on a real PostgreSQL that makes every commit durable, driven over HTTP by devices that do what
sync_client does, and whose answers are checked: a wrong one ends the run with an error. Times are of the calls named, from
the request's first byte to the inflated answer; what a device does around them counts in whole syncs only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import load
import report
from floor import Floor
from load import Sizes, Timed
from phone import WrongAnswer
from processes import Processes
from report import Measurement
from sync_server import logs
from sync_server.embedded import EmbeddedPostgres

FULL = Sizes(pushed=1000, first_pull=10_000, changes=10, users=100, rows_per_sync=10, rounds=3, repeats=10)
QUICK = Sizes(pushed=200, first_pull=1000, changes=10, users=20, rows_per_sync=10, rounds=1, repeats=3)
_LONGEST = 120.0
"""Seconds that one measurement may take."""
_LISTENS = re.compile(r"listens on http://[^:]+:(\d+)")


def main() -> None:
    options = _options()
    logs.configure()
    sizes, runs = (QUICK, 2) if options.quick else (FULL, 7)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.directory)))
        settings = report.machine(directory)
        _say_machine(settings, options.workers)
        postgres = EmbeddedPostgres(directory / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        port, server = stack.enter_context(serving(directory, postgres.create_database("server"), options.workers))
        processes = Processes(server, postgres.pid or 0)
        pipe = stack.enter_context(_load(port, processes, sizes))
        floor = Floor(postgres.create_database("floor"), processes, sizes)
        stack.callback(floor.close)
        measurements = _measure(pipe, floor, sizes, runs)
        memory = processes.peak_memory()
    print(report.table(measurements))
    print(f"\nPeak memory: server {memory[0] >> 20} MiB, the biggest of PostgreSQL's processes {memory[1] >> 20} MiB")
    if options.json:
        document = {"machine": settings, "workers": options.workers, "sizes": sizes._asdict(), "peak_memory": memory}
        figures = [measurement.document() for measurement in measurements]
        options.json.write_text(json.dumps({**document, "measurements": figures}, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the server beside PostgreSQL alone.")
    parser.add_argument("--quick", action="store_true", help="small and few measurements: shows that all works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument("--workers", type=int, default=1, help="the server's worker processes (default: 1)")
    parser.add_argument(
        "--directory", type=Path, help="where the database is made (default: the system's for such files)"
    )
    return parser.parse_args()


def _measure(pipe: Pipe, floor: Floor, sizes: Sizes, runs: int) -> list[Measurement]:
    """All measurements, in turn, `runs` times; a first time is not counted. The two sides take turns, too."""
    _ask(pipe, "prepare")
    floor.prepare()
    plan: dict[str, tuple[str, tuple[Any, ...]]] = {
        f"push {sizes.pushed:,} rows, one call [ms]": ("push", (sizes.pushed,)),
        f"push {sizes.pushed:,} rows, parts of 100 [ms]": ("push", (100,)),
        f"first pull of {sizes.first_pull:,} rows [ms]": ("first_pull", ()),
        f"pull of the last {sizes.changes} changes [ms]": ("last_changes", ()),
        f"whole syncs, {sizes.users} users, {sizes.rows_per_sync} rows each [/s]": ("syncs", ()),
        f"refreshes, {sizes.users} users [/s]": ("refreshes", ()),
    }
    served: dict[str, list[Timed]] = {title: [] for title in plan}
    alone: dict[str, list[Timed]] = {title: [] for title in plan}
    for run in range(-1, runs):
        for title, (name, arguments) in plan.items():
            figures = _ask(pipe, name, f"{title} {run}", *arguments), getattr(floor, name)(f"{title} {run}", *arguments)
            if run >= 0:
                served[title].append(figures[0])
                alone[title].append(figures[1])
    _ask(pipe, "check_crowd")
    return [Measurement(title, served[title], alone[title], title.endswith("[/s]")) for title in plan]


def _ask(pipe: Pipe, *order: Any) -> Any:
    """Let the load do something; raises what went wrong there."""
    pipe.send(order)
    if not pipe.poll(_LONGEST):
        raise WrongAnswer(f"{order[0]}: no end after {_LONGEST:.0f} s")
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextmanager
def serving(directory: Path, url: str, workers: int) -> Iterator[tuple[int, int]]:
    """A server process; its port and its process id."""
    config = directory / "config.json"
    # registering is not measured, so it may be cheap
    config.write_text(json.dumps({"server": {"bcrypt_rounds": 4}, "db": {"realms": {"default": url}}}))
    serve = [sys.executable, "-m", "sync_server.cli", "serve", "--config", str(config)]
    log = directory / "server.log"
    environment = {**os.environ, "RATE_LIMIT_DISABLE": "1"}  # all users come from one address
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*serve, "--host", "127.0.0.1", "--port", "0", "--workers", str(workers)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
    try:
        assert process.stdout
        for line in process.stdout:
            if found := _LISTENS.search(line):
                break
        else:
            raise WrongAnswer(f"the server does not start: {log.read_text()}")
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.communicate()
    if process.returncode != 0:
        raise WrongAnswer(f"the server ended with {process.returncode}: {log.read_text()[-2000:]}")


@contextmanager
def _load(port: int, processes: Processes, sizes: Sizes) -> Iterator[Pipe]:
    """The process with the devices; the pipe through which it is told what to do."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=load.serve, args=(theirs, port, processes, sizes), daemon=True)
    process.start()
    try:
        yield ours
        ours.send(None)
        process.join(10)
    finally:
        process.kill()


def _say_machine(settings: dict[str, Any], workers: int) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in settings["versions"].items())
    print(f"{settings['cores']} cores ({settings['processor']}), {settings['system']}, Python {settings['python']}")
    print(f"files on {settings['files']}, load average before {settings['load_average'][0]:.1f}, {workers} worker(s)")
    print(f"{versions}\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except WrongAnswer as exc:
        sys.exit(f"benchmark: {exc}")
