"""The adoption that comes by itself: when a server first starts on a database that holds sync_server_ts's tables."""

from __future__ import annotations

import structlog

from sync_server import migrations
from sync_server.adoption import old
from sync_server.adoption.old import AdoptionError
from sync_server.adoption.progress import LoggedProgress
from sync_server.adoption.run import adopt
from sync_server.config import RealmSettings

log = structlog.get_logger()
_NOT_MIGRATED = """
SELECT NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = 'users'
)
"""


def concerns(settings: RealmSettings, url: str) -> bool:
    """Whether the realm's database has old tables that may be taken over at a start. To be asked before it is migrated.

    Raises AdoptionError when they belong to a new realm and cannot be read: it must not be served without them.
    """
    if not settings.adopts:
        return False
    with migrations.connect(url) as connection:
        try:
            return old.find(connection) is not None
        except AdoptionError:
            if connection.execute(_NOT_MIGRATED, [settings.schema]).fetchone() == (True,):
                raise
            return False


def on_start(realm: str, settings: RealmSettings, url: str) -> None:
    """Take over the old tables, if the realm is new or an adoption was killed. Raises AdoptionError."""
    with migrations.connect(url) as connection:
        found = old.find(connection)
        if found is None:
            return
        stands = connection.execute(found.statements(settings.schema)["adoption_stands"]).fetchone()
    if stands == (True,):
        report = adopt(realm, settings, url, LoggedProgress(realm))
        log.info("adopted", realm=realm, **report.in_short())
