"""Clusters for tests that do not ask how one comes to be: copies of one, as initdb takes ten times as long."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from sync_server.embedded import EmbeddedPostgres


def put(directory: Path) -> Path:
    """Put a cluster there as the embedded PostgreSQL leaves it that was started and stopped; the directory."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", _original(), directory], check=True)
    return directory


@cache
def _original() -> Path:
    place = Path(tempfile.mkdtemp(prefix="cluster-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    atexit.register(shutil.rmtree, place, ignore_errors=True)  # a worker that is killed leaves it to the whole run
    postgres = EmbeddedPostgres(place / "postgres", {"fsync": "off"})
    postgres.start()
    postgres.stop()
    return postgres.directory
