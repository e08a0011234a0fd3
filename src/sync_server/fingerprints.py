"""Whether all servers of a database sign with the same secrets: each leaves the fingerprint of its own there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
import structlog

from sync_server import migrations
from sync_server.database import Tx, queries
from sync_server.migrations import Connection
from sync_server.realms import Realm

log = structlog.get_logger()
ADVICE = (
    "servers of one database need the same server.secret_key and server.secret_key_refresh, or each refuses the other's"
    " tokens; after a change on all of them this can be ignored"
)


@dataclass(frozen=True)
class Found:
    """A fingerprint, and how many ms ago a server left it."""

    fingerprint: str
    ago: int


def others(connection: Connection, schema: str, own: str | None) -> list[Found]:
    """The fingerprints but our own that servers have left in the last two hours. Changes nothing."""
    rows = connection.execute(queries(schema)["recent_fingerprints"]).fetchall()
    return [Found(*row) for row in rows if row[0] != own]


def leave_at_start(name: str, schema: str, url: str, own: str) -> None:
    """Leave our own, and say in the log which others there are. A realm is served without that if need be."""
    statements = queries(schema)
    try:
        with migrations.connect(url) as connection, migrations.answering(connection):
            found = connection.execute(statements["recent_fingerprints"]).fetchall()
            connection.execute(statements["leave_fingerprint"], {"fingerprint": own})
    except psycopg.Error as exc:
        log.warning("secrets_not_compared", realm=name, reason=type(exc).__name__)
    else:
        _say(name, own, [Found(*row) for row in found])


async def leave(realm: Realm, own: str) -> None:
    """The same while the server runs. Raises Unavailable."""

    async def work(tx: Tx) -> list[Found]:
        found = await tx.all(Found, "recent_fingerprints", {})
        await tx.execute("leave_fingerprint", {"fingerprint": own})
        return list(found)

    _say(realm.name, own, await realm.transact(work))


def _say(realm: str, own: str, found: Iterable[Found]) -> None:
    """What has been left since we were last here; so that a change on all servers is said once."""
    before = min((each.ago for each in found if each.fingerprint == own), default=math.inf)
    for each in found:
        if each.fingerprint != own and each.ago < before:
            seconds = round(each.ago / 1000)
            log.warning(
                "secrets_differ", realm=realm, own=own, other=each.fingerprint, seconds_ago=seconds, hint=ADVICE
            )
