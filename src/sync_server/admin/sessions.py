"""Signing in to the admin API, staying signed in, and signing out."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from sync_server.accounts import guessing, protocol
from sync_server.accounts.limits import Limits
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.roles import Role
from sync_server.accounts.tokens import new_id
from sync_server.admin.errors import SignInRejected, Unauthenticated
from sync_server.admin.tokens import REFRESH_SECONDS, Session
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.realms import Realm

_LIFETIME = {"lifetime": REFRESH_SECONDS * 1000}


class Admin(msgspec.Struct, frozen=True):
    """Who acts: somebody whose token, role and account have been checked for the call."""

    realm: str
    """Of the account."""
    user_id: UUID
    session_id: UUID
    email: str
    name: str
    language: str | None
    role: Role
    """What they may do; `owner` in the owners' realm only."""

    @property
    def is_owner(self) -> bool:
        return self.role is Role.OWNER


class _Found(NamedTuple):
    user_id: UUID
    role: str
    active: bool
    password_hash: str


class _Present(NamedTuple):
    email: str
    name: str
    language: str | None
    role: str


class _Refresh(NamedTuple):
    refresh_id: str
    refresh_previous: str | None


async def sign_in(realm: Realm, passwords: Passwords, limits: Limits, email: str, password: str) -> Session:
    """Begin a session. Raises SignInRejected, whatever is wrong and as slowly; TooManyAttempts.

    Wrong passwords count together with those of devices.
    """
    await realm.read(limits.check)
    key = {"email_key": protocol.email_key(storable(email, "$.email"))}
    found = await realm.read(lambda tx: tx.one(_Found, "find_admin", key))
    may = found is not None and found.active and Role.of(found.role).covers(Role.VIEWER)
    stored = found.password_hash if found is not None and may else None
    right = await guessing.is_right(realm, passwords, limits, email, password, stored)
    if not right or found is None:
        raise SignInRejected
    session = Session(realm.name, found.user_id, uuid4(), new_id())
    parameters = {**session.parameters, **_LIFETIME, "password_hash": found.password_hash}

    async def begin(tx: Tx) -> bool:
        await tx.execute("drop_ended_admin_sessions", parameters)
        await tx.execute("begin_admin_session", parameters)
        return await tx.one(_Present, "admin_of_session", parameters) is not None

    if not await realm.transact(begin):
        raise SignInRejected
    return session


async def present(realm: Realm, session: Session, owners_realm: str) -> Admin:
    """Who a session's user is at this moment. Raises Unauthenticated when it has ended or they may not be here any more."""
    found = await realm.read(lambda tx: tx.one(_Present, "admin_of_session", session.parameters))
    role = Role.of(found.role) if found else Role.USER
    if found is None or not role.covers(Role.VIEWER):
        raise Unauthenticated
    effective = role.within(session.realm, owners_realm)
    return Admin(session.realm, session.user_id, session.session_id, *found[:3], effective)


async def renew(realm: Realm, session: Session) -> Session:
    """The session with the id of its next refresh token. Raises Unauthenticated.

    The token before stays valid until its successor has been used, so a lost answer strands nobody; any other one was
    copied, and the session ends for both.
    """
    new = new_id()

    async def rotate(tx: Tx) -> str | None:
        state = await tx.one(_Refresh, "lock_admin_session", session.parameters)
        if state is not None and session.token_id == state.refresh_id:
            await tx.execute("rotate_admin_refresh", {**session.parameters, **_LIFETIME, "new_id": new})
            return new
        if state is not None and session.token_id == state.refresh_previous:
            return state.refresh_id
        await tx.execute("end_admin_session", session.parameters)
        return None

    token_id = await realm.transact(rotate)
    if token_id is None:
        raise Unauthenticated
    return msgspec.structs.replace(session, token_id=token_id)


async def sign_out(tx: Tx, admin: Admin) -> None:
    """End the session; its tokens are void from here on."""
    await tx.execute("end_admin_session", {"session_id": admin.session_id, "user_id": admin.user_id})
