"""Reads docker-compose.yml with its variables, as `docker compose` does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\})")


class Missing(Exception):
    """A variable that must be set is not, or is empty."""


def read(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The project, with `environment` in place of its variables. Raises Missing."""
    project = _filled_in(yaml.safe_load(path.read_text()), environment)
    assert isinstance(project, dict)
    return project


def variables(path: Path) -> dict[str, str | None]:
    """The file's variables: what they are when they are not set; None when they must be."""
    found = {}
    for match in _VARIABLE.finditer(re.sub(r"(?m)^\s*#.*$", "", path.read_text())):
        if match["name"]:
            assert match["kind"], f"{match[0]}: neither a default nor a refusal stands for it when it is not set"
            found[match["name"]] = match["text"] if match["kind"] == "-" else None
    return found


def _filled_in(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled_in(member, environment) for key, member in value.items()}
    if isinstance(value, list):
        return [_filled_in(member, environment) for member in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _replacement(found, environment), value)
    return value


def _replacement(found: re.Match[str], environment: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    value = environment.get(found["name"], "")
    if not value and found["kind"] == "?":
        raise Missing(f"{found['name']}: {found['text']}")
    return value or (found["text"] or "")
