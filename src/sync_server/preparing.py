"""What must be there before the first call: the embedded PostgreSQL, the realms' databases and their schema."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import structlog

from sync_server import adoption, diagnosis, migrations, signals
from sync_server.adoption import AdoptionError
from sync_server.config import Config, RealmSettings
from sync_server.embedded import EmbeddedError, EmbeddedPostgres
from sync_server.migrations import MigrationError

log = structlog.get_logger()
_AT_ONCE = 8
"""Databases that are prepared at the same time: one that does not answer must not hold up the others."""
_RETRY_SECONDS = 5.0
_WATCH_SECONDS = 1.0
_LONGEST_PAUSE = 60.0


@contextmanager
def databases(config: Config, *, share: bool = False) -> Iterator[tuple[EmbeddedPostgres | None, dict[str, str]]]:
    """The embedded PostgreSQL, running in the block, if a realm asks for it; and each realm's connection URL.

    With `share`, that of a running server is used. Raises EmbeddedError.
    """
    if not any(settings.embedded for settings in config.db.realms.values()):
        yield None, _urls(config, None)
        return
    embedded = EmbeddedPostgres(config.data_dir / "postgres")
    try:
        embedded.start(share)
        yield embedded, _urls(config, embedded)
    finally:
        with signals.held_off():
            embedded.stop()


def _urls(config: Config, embedded: EmbeddedPostgres | None) -> dict[str, str]:
    return {
        name: embedded.create_database(f"realm_{name}") if settings.embedded and embedded else settings.url.reveal()
        for name, settings in config.db.realms.items()
    }


def migrate_all(config: Config, urls: dict[str, str], realms: list[str]) -> dict[str, str]:
    """Bring the realms up to date. What is wrong, one line each, by realm; nothing for those that are well."""
    problems: dict[str, str] = {}
    waiting = iter(realms)

    def work() -> None:
        for name in waiting:
            if problem := migrate(name, config.db.realms[name], urls[name]):
                problems[name] = problem

    # daemons: whoever ends the process need not wait for a database that does not answer
    threads = [threading.Thread(target=work, daemon=True) for _ in realms[:_AT_ONCE]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: problems[name] for name in realms if name in problems}


def migrate(name: str, settings: RealmSettings, url: str) -> str | None:
    """Bring a realm's database up to date. None, or one line of what is wrong and how to mend it, without a secret."""
    try:
        has_old_tables = adoption.concerns(settings, url)
        applied = migrations.migrate(url, settings.schema)
        if has_old_tables:
            adoption.on_start(name, settings, url)
    except MigrationError as exc:
        return f"its schema cannot be brought up to date: {exc}"
    except AdoptionError as exc:
        return f"its old tables cannot be taken over: {exc}"
    except psycopg.Error as exc:
        return f"its database cannot be reached: {diagnosis.explain(exc)}"
    if applied:
        log.info("migrated", realm=name, migrations=applied)
    return None


@contextmanager
def background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run `work` in a thread until the block ends; it gets an event that says so."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=1)


def keep_migrating(config: Config, urls: dict[str, str], problems: dict[str, str]) -> Callable[[threading.Event], None]:
    """Work for `background`: bring realms that could not be served at the start up to date when they are back."""

    def work(stop: threading.Event) -> None:
        down = problems
        while down and not stop.wait(_RETRY_SECONDS):
            still_down = migrate_all(config, urls, list(down))
            for name in down:
                if name not in still_down:
                    log.info("realm_is_back", realm=name)
                elif still_down[name] != down[name]:
                    log.warning("realm_is_down", realm=name, reason=still_down[name])
            down = still_down

    return work


def keep_running(embedded: EmbeddedPostgres | None) -> Callable[[threading.Event], None]:
    """Work for `background`: start the embedded PostgreSQL again when it has died."""

    def work(stop: threading.Event) -> None:
        pause = _WATCH_SECONDS
        while embedded is not None and not stop.wait(pause):
            if embedded.running:
                pause = _WATCH_SECONDS
                continue
            log.error("embedded_postgres_died", action="starting it again")
            try:
                embedded.start()
            except EmbeddedError as exc:
                pause = min(pause * 2, _LONGEST_PAUSE)
                log.error("embedded_postgres_failed", reason=str(exc), next_try_in_seconds=pause)

    return work
