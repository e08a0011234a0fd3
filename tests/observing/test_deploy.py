"""The dashboard and the alert rules speak of metrics and labels that the server really has."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from observing.conftest import Watched
from sync_server import errors
from sync_server.admin import errors as admin_errors
from sync_server.errors import Refusal
from sync_server.observing.catalogue import FAMILIES, PREFIX

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana.json").read_text())
RULES = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
_NAME = re.compile(r"\bsync_server_\w+")
_SELECTED = re.compile(r"(sync_server_\w+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!=|!~|=)")
_BY = re.compile(r"by \(([\w, ]+)\)")
OF_PROMETHEUS = {"instance", "job", "le"}


def queries() -> list[str]:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    variables = [variable["query"] for variable in DASHBOARD["templating"]["list"]]
    return [*shown, *variables, *(rule["expr"] for rule in RULES)]


def family(name: str) -> str:
    """The family that a sample is of."""
    return re.sub(r"_(total|bucket|sum|count)$", "", name.removeprefix(PREFIX))


def test_every_name_is_one_that_the_server_tells(watched: Watched) -> None:
    told: set[str] = {name for each in watched.families() for name in _names(each)}
    asked = {name for query in queries() for name in _NAME.findall(query)}
    assert asked
    assert asked <= told, asked - told


def _names(metric: Any) -> set[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
    return {metric.name + ending for ending in endings}


@pytest.mark.parametrize("query", queries())
def test_every_label_is_one_of_its_metrics(query: str) -> None:
    for name, selected in _SELECTED.findall(query):
        assert set(_LABEL.findall(selected)) <= OF_PROMETHEUS | set(FAMILIES[family(name)].labels)
    known = {label for name in _NAME.findall(query) for label in FAMILIES[family(name)].labels}
    for labels in _BY.findall(query):
        assert {label.strip() for label in labels.split(",")} <= OF_PROMETHEUS | known
    assert query.count("(") == query.count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["annotations"].keys() == {"summary", "description"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    shown = " ".join(rule["annotations"].values())
    known = {label for name in _NAME.findall(rule["expr"]) for label in FAMILIES[family(name)].labels} | OF_PROMETHEUS
    assert set(re.findall(r"\$labels\.(\w+)", shown)) <= known
    by = [{label.strip() for label in labels.split(",")} for labels in _BY.findall(rule["expr"])]
    for labels in by:
        assert set(re.findall(r"\$labels\.(\w+)", shown)) <= labels


def test_refusals_that_are_watched_exist() -> None:
    codes = {kind.code for kind in _kinds(Refusal)}
    assert admin_errors.SignInRejected.code in codes
    assert errors.LoginRejected.code in codes
    for query in queries():
        for names in re.findall(r'error=~"([^"]+)"', query):
            assert set(names.split("|")) <= codes


def _kinds(kind: type[Refusal]) -> set[type[Refusal]]:
    return {each for sub in kind.__subclasses__() for each in ({sub} if hasattr(sub, "code") else set()) | _kinds(sub)}


def test_every_panel_has_its_place() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        columns, lines = (range(place[start], place[start] + place[size]) for start, size in (("x", "w"), ("y", "h")))
        cells = set(itertools.product(columns, lines))
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
