"""`/realms/{realm}/users`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from sync_server import audit
from sync_server.accounts import listing, management
from sync_server.accounts.listing import Sort, Wanted
from sync_server.accounts.management import NO_PASSWORD, Changes, NewUser
from sync_server.accounts.roles import Role
from sync_server.admin import conditional, handling, idempotency
from sync_server.admin.envelope import Page, Success
from sync_server.admin.errors import (
    ChangedMeanwhile,
    Invalid,
    KeyReused,
    OwnAccount,
    PreconditionRequired,
)
from sync_server.admin.idempotency import Idempotency
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.admin.sessions import Admin
from sync_server.audit import Acting
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.errors import EmailTaken, UserNotFound
from sync_server.realms import Realm
from sync_server.server import Server

_PLACES: dict[Sort, Any] = {
    "email": tuple[str, UUID],
    "name": tuple[str, UUID],
    "created_at": tuple[datetime, UUID],
    "-created_at": tuple[datetime, UUID],
}


_ONE = "/realms/{realm_name:str}/users/{user_id:uuid}"
Name = Annotated[str, msgspec.Meta(max_length=255, examples=["Bob"])]
Language = Annotated[str, msgspec.Meta(max_length=35, examples=["en"])]
IfMatch = Annotated[str | None, HeaderParameter(name="If-Match", description="The `ETag` of what is to be changed")]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name=idempotency.HEADER, min_length=1, max_length=255, description="Anything unique, such as a UUID"
    ),
]


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
    second_factor: bool
    """Whether their signing in to the admin API takes a code."""


class Creation(msgspec.Struct, forbid_unknown_fields=True):
    """Somebody new: with a `password`, or with `invite`."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=255, examples=["bob@example.com"])]
    name: Name = ""
    language: Language | None = None
    role: Role = Role.USER
    password: Annotated[str, msgspec.Meta(min_length=8, max_length=1024)] | None = None
    invite: bool = False
    """Mail them that they have an account, and how to set a password."""


class Update(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be different."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    language: Language | msgspec.UnsetType | None = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether they may sign in and sync."""


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


@get(_ONE, opt=needs(Role.VIEWER, UserNotFound), tags=["users"])
async def get_user(realm: NamedDependency[Realm], user_id: FromPath[UUID]) -> Response[Success[User]]:
    """One user. The `ETag` is for updating them."""
    return _answer(await realm.read(lambda tx: management.get(tx, user_id)))


@post("/realms/{realm_name:str}/users", opt=needs(Role.ADMIN, EmailTaken, KeyReused), tags=["users"])
async def create_user(
    request: Request[Any, Any, Any],
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    data: JSONBody[Creation],
    idempotency_key: IdempotencyKey = None,
) -> Response[Success[User]]:
    """Create a user: with a password, or by inviting them, when they set one with a PIN that they are mailed.

    With an `Idempotency-Key` the same call again, within a day, makes nobody twice.
    """
    if (data.password is None) is not data.invite:
        raise Invalid(fields={"password": "Expected either a password or `invite`"})
    handling.may_give(admin, realm, data.role, server.config.owners_realm)
    call = Idempotency(server.keys, admin, idempotency_key, request.url.path, await request.body())
    password_hash = NO_PASSWORD if data.password is None else await server.passwords.hash(data.password)
    new, mail_id = NewUser(data.email, password_hash, data.name, data.language, data.role), uuid4()

    async def create(tx: Tx) -> listing.User:
        identity = await call.first(tx, new.id)
        if identity != new.id or await management.exists(tx, identity):  # or the commit's answer was lost
            return await management.get(tx, identity)
        user = await management.create(tx, new)
        if data.invite:
            await management.invite(tx, realm.name, user.id, mail_id)
        told = {"email": user.email, "name": user.name, "role": user.role, "invited": data.invite}
        await audit.record(tx, acting, action="user.create", entity="user", entity_id=user.id, new=told)
        return user

    user = await realm.transact(create)
    server.mailer.wake(realm)
    location = f"{request.url.path}/{user.id}"
    replayed = {} if user.id == new.id else {idempotency.REPLAYED: "true"}
    return _answer(user, 201, {"Location": location, **replayed})


@patch(_ONE, opt=needs(Role.ADMIN, UserNotFound, OwnAccount, ChangedMeanwhile, PreconditionRequired), tags=["users"])
async def update_user(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    user_id: FromPath[UUID],
    data: JSONBody[Update],
    if_match: IfMatch = None,
) -> Response[Success[User]]:
    """Change a user: what is not given stays as it is. Whoever is locked is signed out from the next call on.

    `If-Match` is to be the user's `ETag`. What is so already needs no change, and succeeds.
    """
    owners_realm = server.config.owners_realm
    changes = Changes(data.name, data.language, data.role, data.active)

    async def update(tx: Tx) -> listing.User:
        user = await management.locked(tx, user_id)
        differing = changes.differing(user)
        if not differing:
            return user
        handling.may_handle(admin, user)
        conditional.check(if_match, _etag(user))
        if isinstance(data.role, Role) and "role" in differing:
            handling.may_give(admin, realm, data.role, owners_realm)
        if differing.keys() & {"role", "active"}:
            handling.is_somebody_else(admin, user)
        updated = await management.update(tx, user, changes)
        old = {name: getattr(user, name) for name in differing}
        await audit.record(tx, acting, action="user.update", entity="user", entity_id=user.id, old=old, new=differing)
        return updated

    return _answer(await realm.transact(update))


def shown(user: listing.User) -> User:
    """A user as the API shows them."""
    last_sync = None if user.last_sync is None else datetime.fromtimestamp(user.last_sync / 1000, UTC)
    return User(*user[:4], Role.of(user.role), *user[5:8], user.devices, last_sync, user.second_factor)


def _etag(user: listing.User) -> str:
    return conditional.etag(user.id, user.email, user.name, user.language, user.role, user.active, user.changed_at)


def _answer(user: listing.User, status: int = 200, headers: dict[str, str] | None = None) -> Response[Success[User]]:
    return Response(Success(shown(user)), status_code=status, headers={"ETag": _etag(user), **(headers or {})})


ROUTES = [list_users, get_user, create_user, update_user]
