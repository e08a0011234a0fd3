"""The shape of the code: who may know whom, and where transactions are opened."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sync_server

SOURCE = Path(sync_server.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
ENGINE = [SOURCE / "sync" / "engine.py", SOURCE / "sync" / "pushing.py"]
RULES = [
    *ENGINE,
    SOURCE / "sync" / "uploads.py",
    SOURCE / "accounts" / "account.py",
    SOURCE / "accounts" / "registration.py",
    SOURCE / "accounts" / "unregistration.py",
    SOURCE / "accounts" / "sessions.py",
    SOURCE / "accounts" / "resets.py",
    SOURCE / "accounts" / "limits.py",
    *sorted((SOURCE / "audit").glob("*.py")),
    *sorted((SOURCE / "takeout").glob("*.py")),
    SOURCE / "database.py",
    *sorted((SOURCE / "stored").glob("*.py")),
]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_know_nothing_of_http(path: Path) -> None:
    assert not imported(path) & {"litestar", "uvicorn"}


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.stem)
def test_the_engine_opens_no_transaction(path: Path) -> None:
    text = path.read_text()
    assert ".transact(" not in text
    assert ".read(" not in text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))


OWN_TIME = {"tokens.py", "sessions.py", "messages.py", "outbox.py", "cluster.py", "lines.py"}
"""Tokens' lives and the time that a login's answer quotes, dates of mails and log lines, names of files: nothing that
several servers compare, or, as with tokens, nothing where an hour matters."""


@pytest.mark.parametrize("path", [path for path in MODULES if path.name not in OWN_TIME], ids=lambda path: path.stem)
def test_what_several_servers_share_is_timed_by_the_database(path: Path) -> None:
    """Servers' clocks differ. (Durations within a process are `time.monotonic`.)"""
    clocks = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
    nodes = ast.walk(ast.parse(path.read_text()))
    assert not {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)} & clocks
