"""What commands do in a realm's database: as routes do, with the same rules, but on a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from sync_server import audit, migrating, preparing
from sync_server import config as configuration
from sync_server.audit import Acting
from sync_server.commands.options import realms_named
from sync_server.complaint import Complaint
from sync_server.config import Config
from sync_server.database import Tx
from sync_server.errors import Refusal
from sync_server.realms import Realm, opened

T = TypeVar("T")
ACTING = Acting(via="cli")
"""Who acts, to the audit log: somebody who may read the configuration, so may do everything."""


class Refused(Complaint):
    """A rule said no; in its words."""


def within(path: Path, realm: str | None, work: Callable[[Config, Realm], Awaitable[T]], *, migrate: bool = False) -> T:
    """Do something in a realm of the configuration at `path`, by default in that of the owners.

    `migrate`: bring its schema up to date first. Raises ConfigError, EmbeddedError, Unavailable, and Refused for every
    other refusal.
    """
    config = configuration.load(path)
    [name] = realms_named(config, path, realm or config.owners_realm)
    with preparing.databases(config, share=True) as (_, urls):
        if migrate and (problem := migrating.migrate(name, config.db.realms[name], urls[name])):
            raise Refused(f"realm {name}: {problem}")
        return asyncio.run(_within(config, urls, name, work))


async def note(tx: Tx, name: str, action: str, told: Mapping[str, object] | None = None) -> None:
    """A line in the audit log of something that is done to the whole realm."""
    await audit.record(tx, ACTING, action=action, entity="realm", entity_id=name, new=told)


async def _within(config: Config, urls: dict[str, str], name: str, work: Callable[[Config, Realm], Awaitable[T]]) -> T:
    async with opened(config, urls) as realms:
        try:
            return await work(config, realms.get(name))
        except Complaint:
            raise
        except Refusal as exc:
            raise Refused(exc.message) from exc
