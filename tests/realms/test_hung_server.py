"""Databases that hang, behind a real server: it starts and ends all the same."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from proxies import FREEZE, PASS, Proxy
from server.calls import Call, begin_sync, change, log_in, push, register
from server.operating import AT_ONCE, Operator, config_with, ends_within, wait_for


def test_sigterm_ends_a_server_whose_database_hangs(operator: Operator, proxy: Proxy, behind: str) -> None:
    running = operator.serve(config_with({"default": behind}, grace=1))
    register(running.url)
    headers = begin_sync(running, log_in(running.url))
    proxy.mode = FREEZE
    calls = [Call(f"{running.url}/push/default", push([change(number)]), headers) for number in range(3)]
    time.sleep(0.5)
    with ends_within(running, 1 + 10 + AT_ONCE):
        pass
    for call in calls:
        call.join(30)
        assert isinstance(call.answer, httpx.TransportError) or call.result().status_code == 503
    assert running.faults() == []


def test_a_database_that_hangs_at_the_start_delays_nobody_for_long(
    operator: Operator, proxy: Proxy, behind: str, new_database: Callable[[], str]
) -> None:
    """However many realms are on it."""
    proxy.mode = FREEZE
    hung = {f"hung{number}": {"url": behind, "schema": f"s{number}"} for number in range(30)}
    begun = time.monotonic()
    running = operator.serve(config_with({"main": new_database(), **hung}))
    assert time.monotonic() - begun < 60  # 5 seconds each
    assert register(running.url, "main").status_code == 200
    begun = time.monotonic()
    assert register(running.url, "hung7").status_code == 503
    assert time.monotonic() - begun < 4.5, "as long as a database is waited for"
    proxy.mode = PASS
    wait_for(lambda: register(running.url, "hung7").status_code == 200)
    assert running.end() == 0
