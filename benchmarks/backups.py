"""What a backup of a large realm takes, as in `.venv/bin/python benchmarks/backups.py`.

A million rows of 300 bytes and their history lie in one user's space, on a PostgreSQL that makes every commit durable.
`sync-server backup`, `backup verify` and `restore` of it are run one after the other, and what was restored is compared
with what was there. The memory is the most that the command's own process had, by the kernel's account (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import filling
from connection import WrongAnswer
from processes import peak
from world import World, made

_CONTENT = """
SELECT count(*)::text || ' ' || sum(hashtextextended(r::text, 0))::text FROM (
    SELECT tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal FROM sync.rows) r
"""
_RECORDS = "SELECT count(*)::text || ' ' || sum(hashtextextended(h::text, 0))::text FROM sync.history h"
_LOOK = 0.02
"""Seconds between two looks at a process."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--many", type=int, default=1_000_000, help="rows, and lines of history")
    parser.add_argument("--directory", type=Path, help="where the database and the backup are made")
    options = parser.parse_args()
    with made(options.directory) as (world, _):
        source, target = _filled(world, options.many), world.database()
        config = world.directory / "config.json"
        config.write_text(json.dumps({"db": {"realms": {"source": source, "target": target}}}))
        file = str(world.directory / "realm.backup")
        common = ["--config", str(config)]
        _measure("backup", ["backup", *common, "--realm", "source", file])
        print(f"  the file has {Path(file).stat().st_size / 2**20:.0f} MiB")
        _measure("backup verify", ["backup", "verify", file])
        _measure("restore", ["restore", *common, "--realm", "target", file])
        _compare(world, source, target)


def _filled(world: World, many: int) -> str:
    url = world.database()
    with world.server({"default": url}) as server:
        filling.fill(world, url, world.run(server.phone("ann")), many)
    print(f"{many:,} rows and as many lines of history are there; load average {os.getloadavg()[0]:.1f}", flush=True)
    return url


def _measure(name: str, arguments: Sequence[str]) -> None:
    begun, most = time.monotonic(), 0
    process = subprocess.Popen([sys.executable, "-m", "sync_server", *arguments], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        most = max(most, peak(process.pid))
        time.sleep(_LOOK)
    if process.returncode != 0:
        raise WrongAnswer(f"{name} ended with {process.returncode}")
    load = os.getloadavg()[0]
    print(f"{name:15s}{time.monotonic() - begun:6.0f} s{most / 2**20:7.0f} MiB   load average {load:.1f}", flush=True)


def _compare(world: World, source: str, target: str) -> None:
    for query in (_CONTENT, _RECORDS):
        if world.value(source, query) != world.value(target, query):
            raise WrongAnswer("what was restored is not what was there")


if __name__ == "__main__":
    try:
        main()
    except WrongAnswer as exc:
        sys.exit(f"backups: {exc}")
