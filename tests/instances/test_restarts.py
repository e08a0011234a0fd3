"""Servers that are restarted one after the other while devices sync: nobody's sync fails beyond a retry."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import start_server
from instances.fleet import Fleet, configuration, fleet, mistakes
from instances.storm import Storm
from postgres import Postgres
from users import User, look_into


@pytest.mark.timeout(240)
def test_a_rolling_restart_fails_no_sync_beyond_a_retry(postgres: Postgres, tmp_path: Path) -> None:
    """The proxy takes the next server where one refuses the connection, as nginx does; sync_client sends each call twice."""
    url = postgres.create_database("instances_restarted")
    config = configuration(url)
    config["db"] = {"realms": {"main": {"url": url, "history": "full"}}}
    with fleet(tmp_path, url, (0, 0, 0), config, {"RATE_LIMIT_DISABLE": "1"}) as servers, look_into(url) as connection:
        storm = Storm([User(servers.wire.send, "main", connection) for _ in range(3)])
        with storm.raging():
            for number in range(len(servers.servers)):
                storm.until_synced(2)
                restart(servers, number)
                storm.until_synced(2)
        assert storm.failures == []
        storm.check()


def restart(servers: Fleet, number: int) -> None:
    """In good order, on the same port, as an operator does for a new version."""
    before = servers.servers[number]
    assert before.stop() == 0
    assert not mistakes([before])
    servers.servers[number] = start_server(
        before.directory, before.config, "--port", str(before.port), environment={"RATE_LIMIT_DISABLE": "1"}
    )
