"""What the figures depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from sync_server.embedded import EmbeddedPostgres

_PACKAGES = ("sync-server", "litestar", "uvicorn", "uvloop", "msgspec", "psycopg")
_SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers", "max_wal_size",
    "checkpoint_timeout", "max_connections", "autovacuum", "jit",
)  # fmt: skip


def describe(directory: Path) -> dict[str, Any]:
    """The machine before the run; `directory` is where the database will be."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "files": _file_system(directory),
        "versions": {name: version(name) for name in _PACKAGES},
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def settings(postgres: EmbeddedPostgres) -> dict[str, str]:
    """PostgreSQL's, of those that matter here."""
    with psycopg.connect(postgres.create_database("settings"), autocommit=True) as connection:
        return {name: connection.execute(f"SHOW {name}".encode()).fetchall()[0][0] for name in _SETTINGS}


def lines(document: dict[str, Any], postgres: dict[str, str], workers: int) -> str:
    """For people."""
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    shown = ", ".join(f"{name} {value}" for name, value in postgres.items())
    return (
        f"{document['cores']} cores ({document['processor']}), {document['system']}, files on {document['files']}, "
        f"load average before {document['load_average'][0]}\nPython {document['python']}, {versions}, "
        f"{workers} worker{'s' if workers > 1 else ''}\nPostgreSQL: {shown}\n"
    )


def _processor() -> str:
    try:
        found = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in found if line.startswith("model name")), "unknown")


def _file_system(directory: Path) -> str:
    """Its kind: on a tmpfs, for one, a commit costs nothing."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    holding = [mount for mount in mounts if directory.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else "unknown"
