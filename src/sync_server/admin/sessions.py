"""Signing in to the admin API, staying signed in, and signing out."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from sync_server import audit
from sync_server.accounts import guessing, protocol
from sync_server.accounts.limits import Limits
from sync_server.accounts.roles import Role
from sync_server.accounts.tokens import new_id
from sync_server.admin import totp
from sync_server.admin.errors import CodeNeeded, SignInRejected, Unauthenticated
from sync_server.admin.tokens import REFRESH_SECONDS, Session
from sync_server.audit import Acting
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.keys import Keys
from sync_server.observing import request_id
from sync_server.realms import Realm
from sync_server.server import Server

_LIFETIME = {"lifetime": REFRESH_SECONDS * 1000}
MOST = 1000
"""Sessions of one account at a time: far more than anybody has, but for a program that signs in for every call."""
_GRACE = 60_000
"""Milliseconds after a rotation in which the refresh token before is still taken: its answer may have been lost."""


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
    age: int
    """Milliseconds since the rotation, by the database's clock."""


class Credentials(NamedTuple):
    email: str
    password: str
    code: str | None = None
    """Of the second factor."""


class Origin(NamedTuple):
    """Where somebody signs in: from which address, and with which program, as it calls itself."""

    address: str | None
    user_agent: str | None


async def sign_in(
    realm: Realm, server: Server, limits: Limits, of_codes: Limits, given: Credentials, origin: Origin
) -> Session:
    """Begin a session. Raises SignInRejected, whatever is wrong and as slowly; CodeNeeded; TooManyAttempts.

    Wrong passwords count together with those of devices; `of_codes`: the limits on wrong codes.
    """
    await realm.read(limits.check)
    key = {"email_key": protocol.email_key(storable(given.email, "$.email"))}
    found = await realm.read(lambda tx: tx.one(_Found, "find_admin", key))
    may = found is not None and found.active and Role.of(found.role).covers(Role.VIEWER)
    stored = found.password_hash if found is not None and may else None
    right = await guessing.is_right(realm, server.passwords, limits, given.email, given.password, stored)
    if not right or found is None:
        raise SignInRejected
    session = Session(realm.name, found.user_id, uuid4(), new_id())
    acting = Acting(
        user_id=found.user_id, realm=realm.name, role=found.role, address=origin.address, request_id=request_id()
    )
    attempt, password_hash = new_id(), found.password_hash

    async def begin(tx: Tx) -> bool:
        if await tx.one(_Present, "admin_of_session", session.parameters):
            return True  # the commit's answer was lost
        if not await _passes_second(tx, server.keys, session.user_id, of_codes, given.code, attempt):
            return False
        return await _begin(tx, session, password_hash, origin, acting)

    if not await realm.transact(begin):
        raise SignInRejected
    return session


async def _passes_second(tx: Tx, keys: Keys, user_id: UUID, limits: Limits, code: str | None, attempt: str) -> bool:
    """Raises CodeNeeded where there is a second factor and no code, TooManyAttempts."""
    if not await totp.is_on(tx, user_id):
        return True
    if code is None:
        raise CodeNeeded
    return await totp.limited(tx, user_id, limits, attempt, lambda tx: totp.passes(tx, keys, user_id, code))


async def _begin(tx: Tx, session: Session, password_hash: str, origin: Origin, acting: Acting) -> bool:
    """Whether there is a session now: when the account has just changed, there is none."""
    parameters = {**session.parameters, **_LIFETIME, **origin._asdict(), "password_hash": password_hash, "most": MOST}
    await tx.execute("make_room_for_admin_session", parameters)
    if not await tx.execute("begin_admin_session", parameters):
        return False
    await audit.record(tx, acting, action="session.begin", entity="user", entity_id=session.user_id)
    return True


async def present(realm: Realm, session: Session, owners_realm: str) -> Admin:
    """Who a session's user is at this moment. Raises Unauthenticated when it has ended or they may not be here any more."""
    found = await realm.read(lambda tx: tx.one(_Present, "admin_of_session", session.parameters))
    role = Role.of(found.role) if found else Role.USER
    if found is None or not role.covers(Role.VIEWER):
        raise Unauthenticated
    effective = role.within(session.realm, owners_realm)
    return Admin(session.realm, session.user_id, session.session_id, *found[:3], effective)


async def knows_password(realm: Realm, server: Server, limits: Limits, admin: Admin, password: str) -> bool:
    """Whether it is the admin's own; a wrong one counts as at `sign_in`. Raises TooManyAttempts."""
    await realm.read(limits.check)
    found = await realm.read(lambda tx: tx.one(_Found, "find_admin", {"email_key": protocol.email_key(admin.email)}))
    stored = None if found is None or found.user_id != admin.user_id else found.password_hash
    return await guessing.is_right(realm, server.passwords, limits, admin.email, password, stored)


async def renew(realm: Realm, session: Session, acting: Acting) -> Session:
    """The session with the id of its next refresh token. Raises Unauthenticated.

    The token before is taken for a moment after its successor was made, as a lost answer must strand nobody. Any other one
    was copied, or is used beside a copy: the session ends for both, and the audit log says so.
    """
    new = new_id()

    async def rotate(tx: Tx) -> str | None:
        state = await tx.one(_Refresh, "lock_admin_session", {**session.parameters, **_LIFETIME})
        if state is None:
            return None
        if session.token_id == state.refresh_id:
            await tx.execute("rotate_admin_refresh", {**session.parameters, **_LIFETIME, "new_id": new})
            return new
        if session.token_id == state.refresh_previous and state.age < _GRACE:
            return state.refresh_id
        await tx.execute("end_admin_session", session.parameters)
        await audit.record(tx, acting, action="session.reused", entity="user", entity_id=session.user_id)
        return None

    token_id = await realm.transact(rotate)
    if token_id is None:
        raise Unauthenticated
    return msgspec.structs.replace(session, token_id=token_id)
