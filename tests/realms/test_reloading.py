"""What SIGHUP and databases that come back do to the realms that are served, and how realms are brought up to date."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from postgres import Postgres, realm_at
from proxies import FREEZE, PASS, REFUSE, Proxy, address_of, through
from server.operating import free_port, wait_for
from sync_server import connections, migrations, preparing, reloading
from sync_server.config import Config, Database, Email, Server
from sync_server.migrating import Migrating
from sync_server.preparing import Databases
from sync_server.reloading import Reloading

_numbers = itertools.count(1)
CLOSED = f"postgresql://nobody@127.0.0.1:{free_port()}/db"


def config_of(urls: dict[str, str], **db: Any) -> Config:
    realms = {name: realm_at(url) for name, url in urls.items()}
    return Config(db=Database(realms=realms, **db))


@pytest.fixture
def empty(postgres: Postgres) -> Callable[[str], str]:
    """Make an empty database; its URL."""
    return lambda name: postgres.create_database(f"{name}_{next(_numbers)}")


def is_migrated(url: str) -> bool:
    with migrations.connect(url) as connection:
        return not migrations.pending(connection, "sync")


class Watched:
    """What was published, and how to have more of it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.published: list[tuple[Config, dict[str, str], set[str]]] = []
        self.hung_up = threading.Event()

    def publish(self, config: Config, urls: dict[str, str], closed: frozenset[str]) -> None:
        self.published.append((config, urls, set(closed)))

    def reload(self, config: Config) -> tuple[Config, dict[str, str], set[str]]:
        before = len(self.published)
        self.config = config
        self.hung_up.set()
        wait_for(lambda: len(self.published) > before)
        return self.published[-1]


@contextmanager
def watched(config: Config, down: dict[str, str]) -> Iterator[Watched]:
    watched = Watched(config)
    databases = Databases()
    made = Reloading(lambda: watched.config, databases, Migrating(), config, databases.urls(config), down)
    with preparing.background(made.watch(watched.hung_up, watched.publish), "watch"):
        yield watched


def test_a_reload_serves_what_is_up_to_date_and_says_what_it_did(empty: Callable[[str], str]) -> None:
    up, new, moved = empty("up"), empty("new"), empty("moved")
    first = {"up": up, "down": CLOSED}
    with capture_logs() as entries, watched(config_of(first), {"down": "away"}) as watch:
        _, urls, closed = watch.reload(config_of({**first, "new": new}))
        assert (urls, closed) == ({**first, "new": new}, {"down"})
        assert is_migrated(new)
        assert not is_migrated(up), "it was served as it was"
        _, urls, closed = watch.reload(config_of({"new": new, "down": moved}))
        assert (urls, closed) == ({"new": new, "down": moved}, set())
        assert is_migrated(moved)
        time.sleep(3 * reloading._LOOK)  # noqa: SLF001 - in which nothing more happens
    said = [(e["added"], e["changed"], e["removed"]) for e in entries if e["event"] == "reloaded"]
    assert said == [(["new"], [], []), ([], ["down"], ["up"])]


def test_what_counts_at_once_and_what_takes_a_restart(empty: Callable[[str], str]) -> None:
    before = config_of({"a": empty("a")})
    wanted = msgspec.structs.replace(
        before,
        db=msgspec.structs.replace(before.db, unknown_realms="a", max_connections=7),
        email=Email(apps={"default": "Other"}, smtp="mail.example.com"),
        server=Server(port=1),
    )
    with capture_logs() as entries, watched(before, {}) as watch:
        served, _, _ = watch.reload(wanted)
    assert (served.db.unknown_realms, served.email.apps) == ("a", {"default": "Other"})
    assert (served.db.max_connections, served.email.smtp, served.server) == (
        before.db.max_connections,
        before.email.smtp,
        before.server,
    )
    [keys] = [sorted(e["keys"]) for e in entries if e["event"] == "reload_needs_restart"]
    assert keys == ["db.max_connections", "email.smtp", "server.port"]


def test_a_realm_whose_database_is_back_is_served(empty: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "_RETRY", 0.3)
    back = empty("back")
    with Proxy(address_of(back)) as proxy:
        proxy.mode = REFUSE
        urls = {"back": through(proxy, back), "away": CLOSED}
        with watched(config_of(urls), dict.fromkeys(urls, "away")) as watch:
            time.sleep(1.0)
            assert watch.published == []
            proxy.mode = PASS
            wait_for(lambda: watch.published)
            assert watch.published[0][1:] == (urls, {"away"})
    assert is_migrated(back)


def test_a_realm_is_under_way_once_until_its_database_answers(empty: Callable[[str], str]) -> None:
    slow = empty("slow")
    with Proxy(address_of(slow)) as proxy:
        proxy.mode = FREEZE
        urls = {"slow": through(proxy, slow), "well": empty("well")}
        config, migrating = config_of(urls), Migrating()
        before = set(threading.enumerate())
        under_way = {"slow": "it is still being brought up to date"}
        wait_for(lambda: migrating.run(config, urls, urls, 0.5) == under_way)
        wait_for(lambda: migrating.run(config, urls, urls, 0.1) == under_way)
        assert proxy.accepted == 1
        made = set(threading.enumerate()) - before
        assert made
        assert all(thread.daemon for thread in made), "the end of the process would wait for it"
        proxy.mode = PASS
        wait_for(lambda: migrating.run(config, urls, urls, 0.5) == {})
    assert is_migrated(slow)


def test_a_start_waits_for_one_realm_at_least(empty: Callable[[str], str]) -> None:
    slow = empty("slow")
    with Proxy(address_of(slow)) as proxy:
        proxy.mode = FREEZE
        urls = {"slow": through(proxy, slow)}
        threading.Timer(0.7, setattr, (proxy, "mode", PASS)).start()
        assert Migrating().run(config_of(urls), urls, urls, 0.1, one_at_least=True) == {}


def test_a_server_that_does_not_answer_is_asked_once_and_a_fault_is_one_realms_own(
    empty: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_CONNECT", 2)
    well = empty("well")
    with Proxy(address_of(well)) as proxy:
        proxy.mode = FREEZE
        urls = {"one": through(proxy, well), "two": through(proxy, well), "unknown": well, "well": well}
        config = config_of({name: url for name, url in urls.items() if name != "unknown"}, max_connections=1)
        problems = Migrating().run(config, urls, urls)
        assert proxy.accepted == 1
    assert problems.keys() == {"one", "two", "unknown"}
    assert problems["one"] == problems["two"]
    assert problems["unknown"].endswith("KeyError")
    assert is_migrated(well)
