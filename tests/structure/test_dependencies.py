"""What Litestar makes for a call before its function runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from litestar.routes import HTTPRoute

from sync_server.app import create_app
from sync_server.config import Config, Database

OFTEN = ["/pull/", "/push/", "/cancelSync/", "/login/"]
"""What devices call all the time."""


@pytest.mark.parametrize("path", OFTEN)
def test_dependencies_are_made_one_after_the_other(tmp_path: Path, path: str) -> None:
    """Those that could be had at the same time get a task each, which costs more than the rest of most calls."""
    app = create_app(Config(Database(realms={}), base=tmp_path), {})
    routes = [route for route in app.routes if isinstance(route, HTTPRoute) and route.path.startswith(path)]
    assert routes
    for route in routes:
        _, model = route.route_handler_map["POST"]
        assert [len(batch) for batch in model.dependency_batches] == [1] * len(model.dependency_batches)


LATE = ["sync_server.admin.app", "sync_server.admin.resources", "litestar_offline_docs", "pyotp"]
"""What the admin API alone needs; it is made at its first call."""


def test_a_start_does_not_import_what_only_the_admin_api_needs() -> None:
    program = "import sys, sync_server.commands.serve; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    found = set(imported.stdout.split())
    assert "sync_server.admin.gate" in found
    assert not found & set(LATE)
