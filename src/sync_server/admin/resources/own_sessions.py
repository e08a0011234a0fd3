"""`/auth/sessions`: where one is signed in, and ending what one does not know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from sync_server.accounts.roles import Role
from sync_server.admin import cookies, own_sessions
from sync_server.admin.envelope import Page, Success
from sync_server.admin.errors import SessionNotFound
from sync_server.admin.own_sessions import Found
from sync_server.admin.pages import Paging
from sync_server.admin.permissions import needs
from sync_server.admin.sessions import Admin
from sync_server.audit import Acting
from sync_server.database import Tx
from sync_server.realms import Realms


class OwnSession(msgspec.Struct):
    """One is signed in somewhere. `last_used` is when the tokens were last renewed, which calls do every 15 minutes.

    `address` and `user_agent`, as the program called itself, are those of the sign-in.
    """

    id: UUID
    present: bool
    """Whether it is the one that asks."""
    created_at: datetime
    last_used: datetime
    expires: datetime
    """Unless it is used."""
    address: str | None
    user_agent: str | None


class Ended(msgspec.Struct):
    ended: Annotated[int, msgspec.Meta(ge=0)]
    """How many there were."""


@get("/auth/sessions", opt=needs(Role.VIEWER), tags=["auth"])
async def list_sessions(
    realms: NamedDependency[Realms], admin: NamedDependency[Admin], paging: NamedDependency[Paging]
) -> Page[OwnSession]:
    """Where you are signed in, the latest sign-in first."""
    after = paging.after(tuple[datetime, UUID])
    realm = realms.named(admin.realm)
    found = await realm.read(lambda tx: own_sessions.page(tx, admin.user_id, after, paging.fetch))
    return paging.page(found, own_sessions.place, None, lambda session: _shown(session, admin))


def _shown(session: Found, admin: Admin) -> OwnSession:
    return OwnSession(
        session.id,
        session.id == admin.session_id,
        session.created_at,
        _time(session.renewed),
        _time(session.expires),
        session.address,
        session.user_agent,
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@delete("/auth/sessions/{session_id:uuid}", status_code=200, opt=needs(Role.VIEWER, SessionNotFound), tags=["auth"])
async def end_session(
    realms: NamedDependency[Realms],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    session_id: FromPath[UUID],
) -> Response[Success[None]]:
    """End one of your sessions: its tokens are void from here on."""
    found = False

    async def end(tx: Tx) -> None:
        nonlocal found
        found = await own_sessions.end(tx, admin, acting, session_id) or found  # a commit's answer may have been lost

    await realms.named(admin.realm).transact(end)
    if not found:
        raise SessionNotFound
    taken_back = cookies.taken_back() if session_id == admin.session_id else []
    return Response(Success(None), cookies=taken_back)


@post("/auth/sessions/end-others", status_code=200, opt=needs(Role.VIEWER), tags=["auth"])
async def end_other_sessions(
    realms: NamedDependency[Realms], admin: NamedDependency[Admin], acting: NamedDependency[Acting]
) -> Success[Ended]:
    """End all of your sessions but the present one."""
    most = 0

    async def end(tx: Tx) -> None:
        nonlocal most
        most = max(most, await own_sessions.end_others(tx, admin, acting))  # as above

    await realms.named(admin.realm).transact(end)
    return Success(Ended(most))


ROUTES: list[Any] = [list_sessions, end_session, end_other_sessions]
