"""What Litestar makes for a call before its function runs."""

from __future__ import annotations

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
