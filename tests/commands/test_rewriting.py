"""The configuration file keeps its form when a realm is added or taken out."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from sync_server import rewriting
from sync_server.config import ConfigError

INDENTED = """{
    "server": {"port": 3000, "secret_key": "\\u00e9 }{ \\" ,"},
    "db": {
        "realms": {
            "default": "embedded",
            "Todos":   {"url": "${TODOS_URL}", "history": "full"}
        }, "timeout": 5
    }
}
"""
ADDED = INDENTED.replace('"full"}\n', '"full"},\n            "new": "embedded"\n')


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TODOS_URL", "postgresql://h/todos")
    path = tmp_path / "config.json"
    path.write_text(INDENTED)
    path.chmod(0o640)
    return path


def test_a_realm_is_added_as_the_others_are_written(path: Path) -> None:
    rewriting.add_realm(path, "new", "embedded")
    assert path.read_text() == ADDED
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    rewriting.remove_realm(path, "new")
    assert path.read_text() == INDENTED


def test_any_of_the_realms_can_be_taken_out(path: Path) -> None:
    rewriting.remove_realm(path, "default")
    assert json.loads(path.read_text())["db"]["realms"].keys() == {"Todos"}
    assert path.read_text() == INDENTED.replace('"default": "embedded",\n            ', "")
    with pytest.raises(ConfigError, match="the only realm"):
        rewriting.remove_realm(path, "todos")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"db":{"realms":{"a":"embedded"}}}', '{"db":{"realms":{"a":"embedded", "new": "embedded"}}}'),
        ('{"db": {"realms": {\n"a": "embedded"\n}}}', '{"db": {"realms": {\n"a": "embedded",\n"new": "embedded"\n}}}'),
    ],
)
def test_a_single_realm_shows_how_the_next_one_is_written(path: Path, before: str, after: str) -> None:
    path.write_text(before)
    rewriting.add_realm(path, "new", "embedded")
    assert path.read_text() == after


@pytest.mark.parametrize(("name", "url"), [("new", "mysql://x"), ("a/b", "embedded"), ("TODOS", "embedded")])
def test_what_would_be_no_configuration_is_not_written(path: Path, name: str, url: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: "):
        rewriting.add_realm(path, name, url)
    assert path.read_text() == INDENTED
    assert list(path.parent.iterdir()) == [path]


def test_a_link_to_the_file_stays_a_link(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path.name)
    rewriting.add_realm(link, "new", "embedded")
    assert link.is_symlink()
    assert path.read_text() == ADDED
