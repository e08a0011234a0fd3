"""A real Prometheus reads the metrics, the alert rules and what the dashboard asks. Skipped where none is installed."""

from __future__ import annotations

import base64
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from observing.conftest import TOKEN, Watched, start_watched
from observing.test_deploy import DASHBOARD, DEPLOY, RULES
from postgres import Postgres
from server.operating import free_port, wait_for
from users import User, look_into
from wire import Request, Wire, encode

ALERTS_TEST = Path(__file__).with_name("alerts_test.yml")
pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="no Prometheus is installed"
)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SHOWN = [target["expr"] for panel in PANELS for target in panel["targets"]]
_VARIABLES = {"$instance": ".*", "$realm": ".*", "$__rate_interval": "1m"}


class Prometheus(NamedTuple):
    url: str
    home: Path

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def series(self, query: str) -> list[Any]:
        for name, value in _VARIABLES.items():
            query = query.replace(name, value)
        found = self.get("query", query=query)["result"]
        assert isinstance(found, list)
        return found


@pytest.fixture(scope="module")
def lively(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A server on which everything happens that panels show: two realms, one of them without a database."""
    realms = {
        "lively": postgres.create_database("lively"),
        "down": "postgresql://127.0.0.1:1/nowhere?connect_timeout=1",
    }
    found = start_watched(tmp_path_factory.mktemp("lively"), realms)
    yield found
    if found.process.process.poll() is None:
        found.process.stop()


@pytest.fixture(scope="module")
def prometheus(lively: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Set up as docs/monitoring.md says, but in more of a hurry."""
    home = tmp_path_factory.mktemp("prometheus")
    (home / "token").write_text(TOKEN)
    rules = home / "alerts.yml"
    rules.write_text(re.sub(r"\n *for: .*", "", (DEPLOY / "alerts.yml").read_text()))
    target = lively.metrics_url.removeprefix("http://")
    job = {
        "job_name": "sync-server",
        "authorization": {"credentials_file": str(home / "token")},
        "static_configs": [{"targets": [target]}],
    }
    hurry = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {"global": hurry, "rule_files": [str(rules)], "scrape_configs": [job]}
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus", "--config.file", str(home / "prometheus.yml"), "--storage.tsdb.path", str(home / "data"),
                "--web.listen-address", f"127.0.0.1:{port}",
            ],
            stderr=log,
        )  # fmt: skip
    found = Prometheus(f"http://127.0.0.1:{port}", home)
    try:
        wait_for(lambda: _is_ready(found))
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _is_ready(prometheus: Prometheus) -> bool:
    try:
        return httpx.get(f"{prometheus.url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_alerts_fire_when_they_should_and_not_else() -> None:
    ran = subprocess.run(
        ["promtool", "test", "rules", ALERTS_TEST], check=False, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_rule_is_tried() -> None:
    text = ALERTS_TEST.read_text()
    assert not [rule["alert"] for rule in RULES if f'alertname="{rule["alert"]}"' not in text]


def test_every_panel_shows_something(lively: Watched, prometheus: Prometheus) -> None:
    live(lively)
    wait_for(lambda: prometheus.series("sync_server_kept_aside_total > 0"))
    empty = set(SHOWN)

    def shown() -> bool:
        live(lively)  # the rate of what appeared with a value shows when it increases
        empty.difference_update([query for query in empty if prometheus.series(query)])
        return not empty

    with suppress(AssertionError):
        wait_for(shown)
    assert not empty


def test_rules_hold_and_an_alert_is_told(lively: Watched, prometheus: Prometheus) -> None:
    def firing() -> dict[str, str]:
        alerts = prometheus.get("alerts")["alerts"]
        return {each["labels"]["alertname"]: each["annotations"]["summary"] for each in alerts}

    wait_for(lambda: "SyncServerRealmClosed" in firing())
    assert firing()["SyncServerRealmClosed"].startswith("1 realms of 127.0.0.1:")
    assert "SyncServerGone" not in firing()
    lively.process.stop()
    wait_for(lambda: "SyncServerGone" in firing())
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert [rule["name"] for rule in rules] == [rule["alert"] for rule in RULES]
    assert not [rule for rule in rules if rule["health"] != "ok"]
    assert not [summary for summary in firing().values() if "error" in summary]


def live(watched: Watched) -> None:
    """A sync, a conflict, a change that is kept aside, a wrong password, a PIN, a call to a realm without a database."""
    with (
        closing(Wire(watched.process.url)) as wire,
        look_into(watched.process.config["db"]["realms"]["lively"]) as connection,
    ):
        user = User(wire.send, "lively", connection)
        phone, tablet = user.device(), user.device()
        for device in (phone, tablet):
            device.save("todos", "1", {"by": device.client_id})
        tablet.save("todos", "x" * 300, {"of": "a guid that is too long"})
        for device in (phone, tablet, phone):
            device.sync()
        login = encode({"clientId": phone.client_id})
        wrong = "Basic " + base64.b64encode(f"{user.email}:wrong".encode()).decode()
        assert wire.send(Request("/login/lively", login, wrong)).status == 403
        assert wire.send(Request("/login/down", login, wrong)).status == 503
        assert wire.send(Request("/password/lively/forgotten", encode({"email": user.email}))).status == 200
