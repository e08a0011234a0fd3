"""Keeps a running server in step with its configuration file and with databases that were down when they were needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from sync_server.config import Config, ConfigError
from sync_server.embedded import EmbeddedError
from sync_server.migrating import Migrating
from sync_server.preparing import Databases

log = structlog.get_logger()
PATIENCE = 10.0
"""Seconds after which what can be served is served, and the other realms when they are up to date."""
_LOOK = 0.2
_RETRY = 5.0
_RELOADED = {"db.realms", "db.unknown_realms", "email.apps"}
"""What SIGHUP changes. Everything else takes a restart."""

Publish = Callable[[Config, dict[str, str], frozenset[str]], None]
"""Takes the configuration, each realm's connection URL, and the realms that are not up to date yet."""


class Reloading:
    """What is served now, and how that changes while the server runs."""

    def __init__(
        self,
        load: Callable[[], Config],
        databases: Databases,
        migrating: Migrating,
        config: Config,
        urls: dict[str, str],
        down: dict[str, str],
    ) -> None:
        """`load` reads the configuration file again. `down`: what is wrong, by realm that cannot be served yet."""
        self._load = load
        self._databases = databases
        self._migrating = migrating
        self._config = config
        self._urls = urls
        self._down = down

    def watch(self, hung_up: threading.Event, publish: Publish) -> Callable[[threading.Event], None]:
        """Work for `background`: when `hung_up` is set, read the configuration again and hand its realms to `publish`;
        and bring realms that were down up to date when they are back.
        """

        def work(stop: threading.Event) -> None:
            next_try = time.monotonic() + _RETRY
            while not stop.wait(_LOOK):
                if hung_up.is_set():
                    hung_up.clear()
                    self._reload(publish)
                elif self._down and time.monotonic() > next_try:
                    self._try_again(publish)
                    next_try = time.monotonic() + _RETRY

        return work

    def _reload(self, publish: Publish) -> None:
        """Serve what the configuration says now. With one that cannot be used, everything stays as it is."""
        try:
            wanted = self._load()
            config = _with_realms_of(wanted, self._config)
            urls = self._databases.urls(config)
        except (ConfigError, EmbeddedError) as exc:
            log.error("reload_refused", reason=str(exc), action="the configuration in force stays")
            return
        except Exception as exc:  # noqa: BLE001 - a mistake of ours must not end the watch
            log.error("reload_failed", reason=type(exc).__name__, action="the configuration in force stays")
            return
        ignored = [key for key in _changes(self._config, wanted) if key not in _RELOADED]
        if ignored:
            log.warning("reload_needs_restart", keys=ignored, action="these changes count from the next start on")
        self._serve(config, urls, publish)

    def _serve(self, config: Config, urls: dict[str, str], publish: Publish) -> None:
        before, before_urls = self._config.db.realms, self._urls
        added = [name for name in config.db.realms if name not in before]
        changed = [
            name
            for name, settings in config.db.realms.items()
            if name in before and (settings, urls[name]) != (before[name], before_urls[name])
        ]
        problems = self._migrating.run(config, urls, [*added, *changed], PATIENCE)
        still_down = {name: problem for name, problem in self._down.items() if name in urls and name not in changed}
        self._config, self._urls, self._down = config, urls, still_down | problems
        publish(config, urls, frozenset(self._down))
        removed = [name for name in before if name not in config.db.realms]
        log.info("reloaded", added=added, changed=changed, removed=removed)
        for name, problem in problems.items():
            log.warning("realm_is_down", realm=name, reason=problem)

    def _try_again(self, publish: Publish) -> None:
        still_down = self._migrating.run(self._config, self._urls, list(self._down), PATIENCE)
        if len(still_down) < len(self._down):
            publish(self._config, self._urls, frozenset(still_down))
        for name, problem in self._down.items():
            if name not in still_down:
                log.info("realm_is_back", realm=name)
            elif still_down[name] != problem:
                log.warning("realm_is_down", realm=name, reason=still_down[name])
        self._down = still_down


def _with_realms_of(wanted: Config, present: Config) -> Config:
    """The configuration in force, with what can change while the server runs as `wanted` has it."""
    db = msgspec.structs.replace(present.db, realms=wanted.db.realms, unknown_realms=wanted.db.unknown_realms)
    email = msgspec.structs.replace(present.email, apps=wanted.email.apps)
    return msgspec.structs.replace(present, db=db, email=email)


def _changes(present: Config, wanted: Config) -> list[str]:
    """The keys whose values differ."""
    return [
        f"{section}.{field.encode_name}"
        for section in ("server", "db", "email", "logs", "metrics", "tracing")
        for field in msgspec.structs.fields(getattr(present, section))
        if _value(present, section, field.name) != _value(wanted, section, field.name)
    ]


def _value(config: Config, section: str, name: str) -> Any:
    return getattr(getattr(config, section), name)
