"""`/realms`."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency

from sync_server.accounts.roles import Role
from sync_server.admin import condition
from sync_server.admin.envelope import Page, Success
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.config import Config
from sync_server.limits import Limits
from sync_server.realms import Realm, Realms
from sync_server.retention.settings import Retention
from sync_server.server import Server


class Pool(msgspec.Struct):
    """Connections of this process to the realm's database (realms on one database share them), and what has happened there
    since its start.
    """

    in_use: int
    idle: int
    waiting: int
    """Calls that wait for a connection."""
    calls: int
    retried: int
    given_up: int
    lost: int
    unanswered: int
    turned_away: int


class RealmSummary(msgspec.Struct):
    name: str
    app_name: str
    embedded: bool
    """Whether its database is the server's own PostgreSQL."""
    history: str
    registration: str
    served: bool
    """False while its database cannot be brought up to date: calls are answered with 503."""
    owners: bool
    """Whether its owners may do everything in all realms."""
    pool: Pool


class Health(msgspec.Struct):
    answers: bool
    ms: float | None
    """How long the database took to answer."""


class RealmCounts(msgspec.Struct):
    """Null: it would have taken too long to count."""

    users: int | None
    clients: int | None
    syncing: int | None
    mails: int | None
    rows: int | None
    overridden: int | None
    kept_aside: int | None
    open_overridden: int | None
    """Of these, what nobody has restored or dismissed yet."""
    open_kept_aside: int | None


class RealmDetails(RealmSummary):
    limits: Limits
    """As the configuration says, or by default."""
    retention: Retention
    """Days after which what may go goes; null: never."""
    health: Health
    size: int | None
    """Bytes of the whole database; null where it does not tell."""
    counts: RealmCounts


@get("/realms", opt=needs(Role.OWNER), tags=["realms"])
async def list_realms(
    server: NamedDependency[Server], realms: NamedDependency[Realms], paging: NamedDependency[Paging]
) -> Page[RealmSummary]:
    """All realms, by name. Their databases are not asked."""
    everyone = realms.everyone()
    after = paging.after(str) or ""
    found = [each for each in everyone if each[0].name > after][: paging.fetch]
    return paging.page(
        found, lambda each: each[0].name, len(everyone), lambda each: RealmSummary(**_summary(server.config, *each))
    )


@get("/realms/{realm_name:str}", opt=needs(Role.VIEWER), tags=["realms"])
async def get_realm(server: NamedDependency[Server], realm: NamedDependency[Realm]) -> Success[RealmDetails]:
    """One realm: whether its database answers, its size, what is in it. What takes longer than two seconds is null."""
    found = await condition.of(realm)
    accounts = found.accounts._asdict() if found.accounts else {}
    rows = found.rows._asdict() if found.rows else {}
    waiting = found.open._asdict() if found.open else {}
    counted = {field: {**accounts, **rows, **waiting}.get(field) for field in RealmCounts.__struct_fields__}
    health = Health(found.ms is not None, found.ms)
    settings = {"limits": realm.settings.limits, "retention": realm.settings.retention}
    details: dict[str, Any] = {**settings, "health": health, "size": found.size, "counts": RealmCounts(**counted)}
    return Success(RealmDetails(**_summary(server.config, realm, served=True), **details))


def _summary(config: Config, realm: Realm, served: bool) -> dict[str, Any]:
    settings = realm.settings
    return {
        "name": realm.name,
        "app_name": realm.app_name,
        "embedded": settings.embedded,
        "history": settings.history,
        "registration": settings.registration,
        "served": served,
        "owners": realm.name == config.owners_realm,
        "pool": _pool(realm),
    }


def _pool(realm: Realm) -> Pool:
    use, counts = realm.use, realm.counts
    happened = ("calls", "retried", "given_up", "lost", "unanswered", "turned_away")
    return Pool(use.in_use, use.idle, use.waiting, *(counts[name] for name in happened))


ROUTES = [list_realms, get_realm]
