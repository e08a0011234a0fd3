"""`/realms/{realm}/users`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from sync_server.accounts import listing
from sync_server.accounts.listing import Sort, Wanted
from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Page
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.bodies import storable
from sync_server.realms import Realm

_PLACES: dict[Sort, Any] = {
    "email": tuple[str, UUID],
    "name": tuple[str, UUID],
    "created_at": tuple[datetime, UUID],
    "-created_at": tuple[datetime, UUID],
}


class User(msgspec.Struct):
    """Somebody in a realm. `last_sync`: of whichever of their devices synced last."""

    id: UUID
    email: str
    name: str
    language: str | None
    role: Role
    active: bool
    created_at: datetime
    changed_at: datetime
    devices: int
    last_sync: datetime | None


@get("/realms/{realm_name:str}/users", opt=needs(Role.VIEWER), tags=["users"])
async def list_users(
    realm: NamedDependency[Realm],
    paging: NamedDependency[Paging],
    search: Annotated[
        str | None, QueryParameter(max_length=255, description="A part of the address or the name, in any case")
    ] = None,
    role: Annotated[Role | None, QueryParameter(description="Only those with just this role")] = None,
    active: Annotated[bool | None, QueryParameter(description="Only those who may sync, or who may not")] = None,
    sort: Annotated[Sort, QueryParameter(description="The order; `-`: the last one first")] = "email",
) -> Page[User]:
    """List and search the realm's users."""
    wanted = Wanted(storable(search, "search") if search else None, role, active)
    after = paging.after(_PLACES[sort])
    found = await realm.read(lambda tx: listing.page(tx, wanted, sort, after, paging.fetch))
    total = await realm.read(lambda tx: listing.count(tx, wanted))
    return paging.page(found, lambda user: listing.place(user, sort), total, shown)


def shown(user: listing.User) -> User:
    """A user as the API shows them."""
    last_sync = None if user.last_sync is None else datetime.fromtimestamp(user.last_sync / 1000, UTC)
    return User(*user[:4], Role.of(user.role), *user[5:8], user.devices, last_sync)


ROUTES = [list_users]
