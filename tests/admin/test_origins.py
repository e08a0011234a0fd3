"""Which pages of other origins may call the admin API: those that the configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from sync_server.app import create_app
from sync_server.config import Admin, Config, Database, RealmSettings, Secret

CONSOLE, OTHER = "https://console.example.com", "https://elsewhere.example.com"
URL = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient[Any]]:
    """Of the API; no call here gets as far as a database."""
    config = Config(Database({"main": RealmSettings(Secret(URL))}), admin=Admin(origins=(CONSOLE,)), base=tmp_path)
    with TestClient(create_app(config, {"main": URL}).state["admin"].make().app) as client:
        yield client


@pytest.mark.parametrize(
    ("origin", "allowed"), [(CONSOLE, True), (OTHER, False), ("null", False), (f"{CONSOLE}.x", False)]
)
def test_a_page_of_a_named_origin_may_call_with_cookies(client: TestClient[Any], origin: str, allowed: bool) -> None:
    answer = client.get("/api/v1/auth/me", headers={"Origin": origin})
    assert answer.status_code == 401
    assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is allowed
    assert answer.headers.get("Access-Control-Allow-Origin") != "*"
    if allowed:
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in answer.headers["Vary"]
        readable = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert readable >= {"ETag", "Retry-After", "X-Request-ID", "Idempotency-Replayed", "Content-Disposition"}


@pytest.mark.parametrize(("origin", "allowed"), [(CONSOLE, True), (OTHER, False)])
def test_so_with_preflights(client: TestClient[Any], origin: str, allowed: bool) -> None:
    names = "authorization,content-type,if-match,idempotency-key,x-csrf-token"
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": names}
    answer = client.options("/api/v1/realms/main/users/1", headers={"Origin": origin, **asked})
    assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is allowed
    if allowed:
        given = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
        assert set(names.split(",")) <= given
        assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
