"""Finding users, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from sync_server.accounts.roles import Role
from sync_server.database import Tx

Sort = Literal["email", "name", "created_at", "-created_at"]
_STATEMENTS: dict[Sort, str] = {
    "email": "users_by_email",
    "name": "users_by_name",
    "created_at": "users_by_age",
    "-created_at": "users_by_age_newest_first",
}
_LOWEST, _HIGHEST = UUID(int=0), UUID(int=(1 << 128) - 1)
_BEGINNINGS: dict[Sort, tuple[Any, UUID]] = {
    "email": ("", _LOWEST),
    "name": ("", _LOWEST),
    "created_at": (datetime(1, 1, 2, tzinfo=UTC), _LOWEST),
    "-created_at": (datetime(9999, 12, 30, tzinfo=UTC), _HIGHEST),
}


class Wanted(msgspec.Struct, frozen=True):
    """Which users; None lets everything pass. `search`: a part of the address or the name, in any case."""

    search: str | None = None
    role: Role | None = None
    active: bool | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {"search": self.search.lower() if self.search else None, "role": self.role, "active": self.active}


class User(NamedTuple):
    """Somebody, and how many devices they have. `last_sync`: ms since the epoch, of whichever synced last.

    `second_factor`: whether signing in to the admin API takes a code.
    """

    id: UUID
    email: str
    name: str
    language: str | None
    role: str
    active: bool
    created_at: datetime
    changed_at: datetime
    email_key: str
    devices: int
    last_sync: int | None
    second_factor: bool


async def page(tx: Tx, wanted: Wanted, sort: Sort, after: tuple[Any, UUID] | None, fetch: int) -> Sequence[User]:
    """Up to `fetch` users after the place `after` (see `place`) in the order."""
    key, identity = after or _BEGINNINGS[sort]
    parameters = {**wanted.parameters, "after": key, "after_id": identity, "fetch": fetch}
    return await tx.all(User, _STATEMENTS[sort], parameters)


def place(user: User, sort: Sort) -> tuple[Any, UUID]:
    """Where a user stands in the order."""
    key = {"email": user.email_key, "name": user.name, "created_at": user.created_at, "-created_at": user.created_at}
    return key[sort], user.id


async def count(tx: Tx, wanted: Wanted) -> int:
    """How many there are on all pages."""
    found: int = await tx.value("count_users", wanted.parameters)
    return found
