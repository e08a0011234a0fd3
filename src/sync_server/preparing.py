"""What must be there before the first call: the embedded PostgreSQL and the realms' databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from sync_server import signals
from sync_server.config import Config, RealmSettings
from sync_server.embedded import EmbeddedError, EmbeddedPostgres

log = structlog.get_logger()
_WATCH_SECONDS = 1.0
_LONGEST_PAUSE = 60.0


class Databases:
    """Where the realms' databases are. The embedded PostgreSQL starts when the first realm asks for it."""

    def __init__(self, *, share: bool = False) -> None:
        """With `share`, the embedded PostgreSQL of a running server is used."""
        self.embedded: EmbeddedPostgres | None = None
        self._share = share

    def urls(self, config: Config) -> dict[str, str]:
        """Each realm's connection URL; databases in the embedded PostgreSQL are made. Raises EmbeddedError."""
        if self.embedded is None and any(settings.embedded for settings in config.db.realms.values()):
            self.embedded = EmbeddedPostgres(config.data_dir / "postgres")
            self.embedded.start(self._share)
        return {name: self._url(name, settings) for name, settings in config.db.realms.items()}

    def _url(self, name: str, settings: RealmSettings) -> str:
        if settings.embedded and self.embedded is not None:
            return self.embedded.create_database(f"realm_{name}")
        return settings.url.reveal()

    def stop(self) -> None:
        if self.embedded is not None:
            with signals.held_off():
                self.embedded.stop()


@contextmanager
def databases(config: Config, *, share: bool = False) -> Iterator[tuple[EmbeddedPostgres | None, dict[str, str]]]:
    """The embedded PostgreSQL, running in the block, if a realm asks for it; and each realm's connection URL.

    With `share`, that of a running server is used. Raises EmbeddedError.
    """
    found = Databases(share=share)
    try:
        urls = found.urls(config)
        yield found.embedded, urls
    finally:
        found.stop()


@contextmanager
def background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run `work` in a thread until the block ends; it gets an event that says so."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), name=name, daemon=True)
    with signals.waiting():
        thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=1)


def keep_running(databases: Databases) -> Callable[[threading.Event], None]:
    """Work for `background`: start the embedded PostgreSQL again when it has died."""

    def work(stop: threading.Event) -> None:
        pause = _WATCH_SECONDS
        while not stop.wait(pause):
            embedded = databases.embedded
            if embedded is None or embedded.running:
                pause = _WATCH_SECONDS
                continue
            log.error("embedded_postgres_died", action="starting it again")
            try:
                embedded.start()
            except EmbeddedError as exc:
                pause = min(pause * 2, _LONGEST_PAUSE)
                log.error("embedded_postgres_failed", reason=str(exc), next_try_in_seconds=pause)

    return work
