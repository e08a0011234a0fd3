"""`sync-server prune` and `sync-server kept-aside`: what they print, as one JSON object per line."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID

from sync_server.config import Config
from sync_server.mail import outbox
from sync_server.realms import Realm, opened
from sync_server.retention import pruning
from sync_server.sync import aside


class Heard(Protocol):
    """Hears how far it is."""

    def advance(self, number: float, /) -> object: ...


Watch = Callable[[str], AbstractContextManager[Heard]]


async def prune(
    config: Config, urls: dict[str, str], names: list[str], watch: Watch, *, dry_run: bool
) -> AsyncIterator[dict[str, Any]]:
    """Prune these realms, and the outbox; a line for each. `watch` gives who hears of a realm. Raises Unavailable."""
    word = "would_remove" if dry_run else "removed"
    async with opened(config, urls) as realms:
        for name in names:
            realm: Realm = realms.get(name)
            ages = pruning.ages(realm.settings.retention)
            with watch(f"Realm {name}") as heard:
                if dry_run:
                    found = await pruning.count(realm, ages, heard.advance)
                else:
                    found = await pruning.prune(realm, ages, math.inf, heard.advance)
            yield {"realm": name, word: dict(sorted((+found).items()))}
    mails = outbox.clear(config.data_dir / "outbox", config.email.outbox_days, dry_run=dry_run)
    yield {"outbox": str(config.data_dir / "outbox"), word: {"mails": mails} if mails else {}}


async def kept_aside(config: Config, urls: dict[str, str], name: str, *, also_settled: bool) -> list[dict[str, Any]]:
    """What a realm keeps aside, without the changes themselves. Raises Unavailable."""
    async with opened(config, urls) as realms:
        found = await realms.get(name).read(lambda tx: aside.kept(tx, also_settled=also_settled))
        return [line._asdict() for line in found]


async def kept_change(config: Config, urls: dict[str, str], name: str, identity: UUID) -> str | None:
    """A change that is kept aside, as the device sent it. Raises Unavailable."""
    async with opened(config, urls) as realms:
        return await realms.get(name).read(lambda tx: aside.change(tx, identity))
