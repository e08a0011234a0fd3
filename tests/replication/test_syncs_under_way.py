"""What is known of syncs under way is on the primary alone: not on a standby, nor on one that has taken over."""

from __future__ import annotations

from pathlib import Path

import pytest

from device import Device
from instances.fleet import Fleet, fleet
from proxies import Proxy
from replication.machines import Pair, wait_for
from replication.test_failover import push
from sync_server import migrations
from users import User, look_into, sync_all
from wire import Answer, On, Request, encode, keep

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")


def test_a_device_in_the_middle_of_a_sync_gets_on_when_a_standby_has_taken_over(pair: Pair, served: Fleet) -> None:
    """What is known of syncs is not replicated: the new primary knows of none."""
    with look_into(pair.primary.url("main")) as before:
        user = User(served.wire.send, "main", before)
        phone, tablet = user.device(), user.device()
        phone.insert("todos", "1", {"title": "stored"})
        sync_all(phone, tablet)
        phone.insert("todos", "2", {"title": "pending"})
        pulls: list[Request] = []
        phone.transport = On("/pull", keep(pulls))
        phone.pull()
    pair.fail_over()
    with look_into(pair.standby.url("main")) as after:
        user.connection = after
        assert after.execute("SELECT * FROM sync.syncs").fetchall() == []
        assert user.rows().keys() == {("todos", "1")}
        wait_for(lambda: push(phone).status == 409)  # as soon as both servers have found the new primary
        assert phone.send(pulls[0]).status == 403
        assert user.client(phone)["sync_started"] is None
        sync_all(phone, tablet)
        assert user.rows().keys() == {("todos", "1"), ("todos", "2")}
        assert tablet.state.rows == phone.state.rows
        assert len(user.history()) == 2


def refresh(device: Device) -> Answer:
    """As sync_client asks for a token, once."""
    return device.send(Request("/login/main/refreshToken", encode({"refreshToken": device.state.refresh})))


def test_a_server_that_has_been_a_standby_all_the_time_is_left(pair: Pair, tmp_path: Path) -> None:
    """Whoever reads there what is known of syncs is told that this cannot be; which is no mistake of ours."""
    migrations.migrate(pair.primary.url("main"))
    standby, primary = [("127.0.0.1", machine.port) for machine in (pair.standby, pair.primary)]
    with Proxy(primary) as proxy, look_into(pair.primary.url("main")) as database:
        url = f"postgresql://sync_server@127.0.0.1:{proxy.port}/main"
        with fleet(tmp_path, url, (0,), environment={"RATE_LIMIT_DISABLE": "1"}) as servers:
            user = User(servers.wire.send, "main", database)
            phone = user.device()
            phone.insert("todos", "1", {"title": "x"})
            phone.sync()
            proxy.targets = [standby]
            proxy.cut()
            assert refresh(phone).status == 503
            assert '"sqlstate": "0A000"' in servers.servers[0].log
            proxy.targets = [standby, primary]
            before = proxy.accepted
            for number in range(2, 5):
                phone.insert("todos", str(number), {"title": "x"})
                phone.sync()
                proxy.cut()  # the next connection may lead to either
            assert proxy.accepted > before
            assert user.rows().keys() == {("todos", str(number)) for number in range(1, 5)}
