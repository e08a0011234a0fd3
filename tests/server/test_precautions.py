"""What is careless is said at the start and by `check`, each with the key that mends it; and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.operating import Operator, config_with
from sync_server import config as configuration
from sync_server import precautions

LONG = "0123456789abcdef0123456789abcdef"
SOUND: dict[str, Any] = {
    "server": {"host": "127.0.0.1", "secret_key": LONG, "secret_key_refresh": LONG[::-1]},
    "db": {"realms": {"default": {"url": "embedded", "registration": "closed"}}},
}


def advice(tmp_path: Path, **sections: Any) -> list[str]:
    document = {**SOUND, **sections, "server": {**SOUND["server"], **sections.get("server", {})}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    config = configuration.load(path)
    return precautions.advice(config, config.server.host)


def realm(url: str) -> dict[str, Any]:
    return {"realms": {"todos": {"url": url, "registration": "invite"}}}


CARELESS: dict[str, dict[str, Any]] = {
    "server.secret_key is short": {"server": {"secret_key": "short"}},
    "server.secret_key_refresh is short": {"server": {"secret_key_refresh": LONG[:31]}},
    "are the same": {"server": {"secret_key_refresh": LONG}},
    "server.bcrypt_rounds is 9": {"server": {"bcrypt_rounds": 9}},
    "plain HTTP": {"server": {"host": "0.0.0.0"}},
    "believes everybody": {"server": {"trusted_proxies": ["10.0.0.0/8", "0.0.0.0/0"]}},
    "everybody who reaches metrics.port": {"metrics": {"port": 9464, "host": "10.0.0.7"}},
    "metrics.token is short": {"metrics": {"token": "fifteen bytes.."}},
    "an account in the realm default": {"db": {"realms": {"default": "embedded"}}},
    "an account in the realms a, b, c, d, e and 1 others": {"db": {"realms": dict.fromkeys("abcdef", "embedded")}},
    "the database of the realm todos": {"db": realm("postgresql://sync:x@db.example.com/todos")},
    "without TLS": {"db": realm("postgresql://sync:x@10.0.0.1,203.0.114.7/todos?sslmode=prefer")},
    "mails, which carry PINs": {"email": {"smtp": "mail.example.com", "security": "plain"}},
}


@pytest.mark.parametrize("said", CARELESS)
def test_what_is_careless_is_said(tmp_path: Path, said: str) -> None:
    [sentence] = advice(tmp_path, **CARELESS[said])
    assert said in sentence


SOUND_TOO: list[dict[str, Any]] = [
    {},
    {"server": {"host": "::1"}},
    {"server": {"host": "0.0.0.0", "trusted_proxies": ["10.0.0.1"]}},
    {"metrics": {"port": 9464}},
    {"metrics": {"port": 9464, "host": "0.0.0.0", "token": LONG}},
    {"db": realm("postgresql://sync:x@db.example.com/todos?sslmode=verify-full")},
    {"db": realm("postgresql://sync:x@database/todos")},
    {"db": realm("postgresql://sync:x@192.168.1.7/todos")},
    {"db": realm("postgresql://sync:x@/todos?host=/run/postgresql")},
    {"email": {"smtp": "127.0.0.1", "security": "plain"}},
    {"email": {"smtp": "mail.example.com"}},
]


@pytest.mark.parametrize("sections", SOUND_TOO, ids=str)
def test_nothing_else_is(tmp_path: Path, sections: dict[str, Any]) -> None:
    assert advice(tmp_path, **sections) == []


def test_limits_that_are_off_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_DISABLE", "1")
    [sentence] = advice(tmp_path)
    assert "RATE_LIMIT_DISABLE" in sentence


def test_it_is_said_at_the_start_and_by_check(operator: Operator, empty_url: str) -> None:
    running = operator.serve(config_with({"default": empty_url}))
    assert running.end() == 0
    checked = operator.run("check")
    assert checked.code == 0, "careless is not broken"
    for said, prefix in ((running.out, "  take care: "), (checked.out, "Take care: ")):
        assert f"{prefix}anybody may make an account in the realm default" in said
        assert f"{prefix}server.bcrypt_rounds is 4" in said
