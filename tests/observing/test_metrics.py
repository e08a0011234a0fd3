"""What Prometheus is told: who may ask, that the numbers are right, and that nobody can make their number grow."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from observing.conftest import TOKEN, Watched, start_watched
from observing.test_health import realms_on
from postgres import Postgres
from routes.calls import Http
from server.operating import wait_for
from sync_server.observing.catalogue import FAMILIES, PREFIX
from sync_server.observing.queues import Queues, QueueWatch
from sync_server.realms import Realms
from users import User

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def test_there_are_none_unless_the_configuration_says_so(http: Http) -> None:
    answer = http.client.get("/metrics")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_they_take_the_token_on_either_port(watched: Watched) -> None:
    for url in (watched.process.url, watched.metrics_url):
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": "Bearer"}):
            answer = httpx.get(url + "/metrics", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "scrape_rejected")
        answer = httpx.get(url + "/metrics", headers=AUTHORIZED)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
    wanted = {**AUTHORIZED, "Accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(watched.metrics_url + "/metrics", headers=wanted)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_the_port_for_metrics_is_for_nothing_else(watched: Watched) -> None:
    url = watched.metrics_url
    assert httpx.get(url + "/health/live").status_code == 200
    for method, path in (("GET", "/"), ("POST", "/login/watched"), ("GET", "/api/v1/realms"), ("GET", "/api-docs")):
        assert httpx.request(method, url + path).status_code == 404, path


def test_every_metric_of_the_catalogue_is_told_and_no_other(watched: Watched) -> None:
    names = {family.name for family in watched.families()}
    assert names == {PREFIX + name for name in FAMILIES}
    assert all(FAMILIES[family.name.removeprefix(PREFIX)].help == family.documentation for family in watched.families())


def test_the_documentation_lists_every_metric() -> None:
    text = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    listed = re.findall(r"^\| `(\w+?)(?:_total)?` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    kinds = {"sum": "gauge", "most": "gauge"}
    assert listed == [
        (name, kinds.get(family.kind, family.kind), ", ".join(f"`{label}`" for label in family.labels), family.help)
        for name, family in FAMILIES.items()
    ]


def test_syncs_rows_and_conflicts_are_counted_by_realm(watched: Watched, watched_user: User) -> None:
    names = ("syncs_total", "rows_received_total", "rows_sent_total", "conflicts_total", "kept_aside_total")
    before = [watched.numbers(name, realm="watched") for name in names]
    other = watched.numbers("syncs_total", realm="metrics")
    phone, tablet = watched_user.device(), watched_user.device()
    phone.insert("todos", "1", {"title": "phone"})
    tablet.insert("todos", "1", {"title": "tablet"})
    phone.insert("todos", "2", {"title": "two"})
    for device in (phone, tablet, phone):
        device.sync()
    tablet.insert("todos", "x" * 300, {"title": "its key is too long"})
    tablet.sync()
    after = [watched.numbers(name, realm="watched") for name in names]
    sent = 1 + 1  # the tablet overwrites one of the phone's two, and is sent the other; the phone is sent the tablet's
    assert [now - then for now, then in zip(after, before, strict=True)] == [4, 3, sent, 1, 1]
    assert watched.numbers("syncs_total", realm="metrics") == other


def test_what_an_alert_counts_begins_at_nothing(watched: Watched) -> None:
    """A series that begins with a 1 has not increased, for Prometheus."""
    [family] = [family for family in watched.families() if family.name == "sync_server_kept_aside"]
    assert {sample.labels["realm"] for sample in family.samples} == {"watched", "metrics", "down"}
    assert watched.numbers("kept_aside_total", realm="down") == 0
    [family] = [family for family in watched.families() if family.name == "sync_server_mails"]
    begun = {(sample.labels["realm"], sample.labels["mail"], sample.labels["outcome"]) for sample in family.samples}
    assert {("down", "pin", "failed"), ("down", "invitation", "sent"), ("watched", "pin", "given_up")} <= begun


def test_mails_are_counted(watched: Watched, watched_user: User) -> None:
    labels = {"realm": "watched", "mail": "pin", "outcome": "sent"}  # without a mail server it is written to a file
    before = watched.numbers("mails_total", **labels)
    watched_user.device()
    demand = httpx.post(f"{watched.process.url}/password/watched/forgotten", json={"email": watched_user.email})
    assert demand.status_code == 200
    assert wait_for(lambda: watched.numbers("mails_total", **labels) == before + 1)
    assert watched.numbers("mails_total", realm="watched", outcome="failed") == 0


def test_requests_are_counted_by_route_and_status_and_timed(watched: Watched, watched_user: User) -> None:
    route = "/login/{realm_name}"
    labels = {"route": route, "method": "POST", "status": "200"}
    before = watched.numbers("requests_total", **labels), watched.numbers("request_seconds_count", route=route)
    refused = watched.numbers("refusals_total", error="login_rejected")
    waits = watched.numbers("bcrypt_wait_seconds_count")
    phone = watched_user.device()
    phone.login()
    httpx.post(watched.process.url + "/login/watched", json={"clientId": phone.client_id}, auth=("x", "y"))
    assert watched.numbers("requests_total", **labels) == before[0] + 1
    assert watched.numbers("request_seconds_count", route=route) == before[1] + 2
    assert watched.numbers("request_seconds_bucket", route=route, le="+Inf") == before[1] + 2
    assert 0 < watched.numbers("request_seconds_sum", route=route) < 600
    assert watched.numbers("refusals_total", error="login_rejected") == refused + 1
    assert watched.numbers("bcrypt_wait_seconds_count") >= waits + 3
    assert watched.numbers("transactions_total", database="watched") > 3
    assert watched.numbers("database_answers", database="watched") == 1
    assert watched.numbers("realms", state="closed") == 1


def test_nobody_can_make_up_labels(watched: Watched) -> None:
    watched.numbers("uptime_seconds")
    before = sum(len(family.samples) for family in watched.families())
    for number in range(30):
        httpx.request("PROPFIND", watched.process.url + f"/made/up/{number}")
        httpx.post(watched.process.url + f"/pull/made-up-{number}", json={})
        httpx.get(watched.process.url + f"/api/v1/realms/made-up-{number}/users")
    assert sum(len(family.samples) for family in watched.families()) - before < 90  # a few routes' buckets
    assert watched.numbers("requests_total", route="other") >= 30
    text = httpx.get(watched.metrics_url + "/metrics", headers=AUTHORIZED).text
    assert "made" not in text.lower()


def test_what_waits_in_a_database_that_is_in_use_is_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_server.observing.queues._FRESH", 0.0)

    async def work(realms: Realms) -> None:
        watch = QueueWatch(realms)
        await watch.refresh({})
        assert watch.seen == {}, "nobody uses it, so it is not woken"
        await realms.get("main").read(lambda tx: tx.value("answers", {}))
        await watch.refresh({})
        assert watch.seen == {"main": Queues(0, 0, 0)}

    async def whole() -> None:
        realms = realms_on(main=database_url)
        try:
            await work(realms)
        finally:
            await realms.close()

    asyncio.run(whole())


def test_whichever_worker_is_asked_tells_of_all_and_forgets_nothing_of_those_that_die(
    postgres: Postgres, tmp_path: Path
) -> None:
    watched = start_watched(tmp_path, {"main": postgres.create_database("of_workers")}, "--workers", "2")
    labels = {"route": "/health/live", "method": "GET", "status": "200"}
    try:
        httpx.get(watched.process.url + "/", timeout=60)  # until the first one serves, the port of metrics may be shut
        wait_for(lambda: watched.numbers("processes") == 2)
        for _ in range(30):
            httpx.get(watched.process.url + "/health/live", timeout=60)
        wait_for(lambda: [watched.numbers("requests_total", **labels) for _ in range(6)] == [30] * 6)
        pids = subprocess.run(
            ["pgrep", "-P", str(watched.process.process.pid)], capture_output=True, text=True, check=True
        ).stdout
        workers = [int(pid) for pid in pids.split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

        def the_other_knows() -> bool:
            """What the first has counted in the last seconds, which die with it if it has not told them."""
            os.kill(workers[0], signal.SIGSTOP)
            known = watched.numbers("requests_total", **labels) == 30
            os.kill(workers[0], signal.SIGKILL if known else signal.SIGCONT)
            return known

        wait_for(the_other_knows)
        wait_for(lambda: '"worker_died"' in watched.process.log)
        wait_for(lambda: watched.numbers("uptime_seconds") > 0)
        assert {watched.numbers("requests_total", **labels) for _ in range(6)} == {30}
    finally:
        assert watched.process.stop() == 0
