"""Brings the schemas of all realms up to date: several at a time, and none waits for another one's database."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import psycopg
import structlog
from psycopg.errors import ConnectionTimeout

from sync_server import adoption, connection_url, diagnosis, fingerprints, migrations, signals
from sync_server.adoption import AdoptionError
from sync_server.config import Config, RealmSettings
from sync_server.migrations import MigrationError

log = structlog.get_logger()
_AT_ONCE = 8
"""Databases that are worked on at the same time."""
_LOOK = 0.02


def migrate(name: str, settings: RealmSettings, url: str, fingerprint: str | None = None) -> str | None:
    """Bring a realm's database up to date, and leave the `fingerprint` of the server's secrets there.

    None, or one line of what is wrong and how to mend it, without a secret. Raises psycopg's ConnectionTimeout where it
    does not answer.
    """
    try:
        has_old_tables = adoption.concerns(settings, url)
        applied = migrations.migrate(url, settings.schema)
        if has_old_tables:
            adoption.on_start(name, settings, url)
    except MigrationError as exc:
        return f"its schema cannot be brought up to date: {exc}"
    except AdoptionError as exc:
        return f"its old tables cannot be taken over: {exc}"
    except ConnectionTimeout:
        raise
    except psycopg.Error as exc:
        return f"its database cannot be reached: {diagnosis.explain(exc)}"
    if applied:
        log.info("migrated", realm=name, migrations=applied)
    if fingerprint is not None:
        fingerprints.leave_at_start(name, settings.schema, url, fingerprint)
    return None


class Migrating:
    """Brings realms up to date, a few at the same time; what takes long goes on in the background."""

    def __init__(self, fingerprint: str | None = None) -> None:
        """`fingerprint`: of the secrets of the server that the realms are for."""
        self._fingerprint = fingerprint
        self._under_way: set[tuple[str, str]] = set()
        """Realms and their URLs."""
        self._lock = threading.Lock()

    def run(
        self,
        config: Config,
        urls: dict[str, str],
        realms: Iterable[str],
        patience: float = math.inf,
        *,
        one_at_least: bool = False,
    ) -> dict[str, str]:
        """Bring the realms up to date. What is wrong, one line each, by realm; nothing for those that are well.

        Returns after `patience` seconds at the latest, with `one_at_least` not before a realm is well or all are not;
        realms that are not done by then count as not well.
        """
        names = list(realms)
        round_ = _Round(config, urls, self._begin(names, urls), self._fingerprint)
        round_.start(min(_AT_ONCE, config.db.max_connections), self._end)
        deadline = time.monotonic() + patience
        while round_.under_way and (time.monotonic() < deadline or (one_at_least and not round_.well)):
            time.sleep(_LOOK)
        problems = dict(round_.problems)
        for name in names:
            if (name, urls[name]) in self._under_way:
                problems[name] = "it is still being brought up to date"
        return {name: problems[name] for name in names if name in problems}

    def _begin(self, names: list[str], urls: dict[str, str]) -> list[str]:
        """Those of the realms that are not under way already."""
        with self._lock:
            begun = [name for name in names if (name, urls[name]) not in self._under_way]
            self._under_way.update((name, urls[name]) for name in begun)
        return begun

    def _end(self, name: str, url: str) -> None:
        with self._lock:
            self._under_way.discard((name, url))


class _Round:
    """One try for each of some realms. A server that has not answered for one realm is not asked for another one's sake."""

    def __init__(self, config: Config, urls: dict[str, str], realms: list[str], fingerprint: str | None) -> None:
        self.problems: dict[str, str] = {}
        self.well = 0
        self._threads: list[threading.Thread] = []
        self._config = config
        self._urls = urls
        self._fingerprint = fingerprint
        self._waiting = deque(realms)
        self._silent: dict[frozenset[str], str] = {}

    def start(self, threads: int, end: Callable[[str, str], None]) -> None:
        """Try them in so many threads. `end` hears of each realm that is done."""
        # daemons: whoever ends the process need not wait for a database that does not answer
        self._threads = [threading.Thread(target=self._work, args=(end,), daemon=True) for _ in range(threads)]
        with signals.waiting():
            for thread in self._threads:
                thread.start()

    @property
    def under_way(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _work(self, end: Callable[[str, str], None]) -> None:
        while self._waiting:
            try:
                name = self._waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                problem = self._try(name)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the others have their turn
                problem = f"its schema cannot be brought up to date: {type(exc).__name__}"
            if problem:
                self.problems[name] = problem
            else:
                self.well += 1
            end(name, self._urls[name])

    def _try(self, name: str) -> str | None:
        server = connection_url.server(self._urls[name])
        if server in self._silent:
            return self._silent[server]
        try:
            return migrate(name, self._config.db.realms[name], self._urls[name], self._fingerprint)
        except ConnectionTimeout as exc:
            return self._silent.setdefault(server, f"its database cannot be reached: {diagnosis.explain(exc)}")
