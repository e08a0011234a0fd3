"""One's own sessions: which there are, and ending them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sync_server import audit
from sync_server.admin.sessions import Admin
from sync_server.admin.tokens import REFRESH_SECONDS
from sync_server.audit import Acting
from sync_server.database import Tx

Place = tuple[datetime, UUID]


class Found(NamedTuple):
    """A session. Times in ms since the epoch, but for `created_at`; `renewed`: when it last got new tokens."""

    id: UUID
    created_at: datetime
    renewed: int
    expires: int
    address: str | None
    user_agent: str | None


async def page(tx: Tx, user_id: UUID, after: Place | None, fetch: int) -> Sequence[Found]:
    """Up to `fetch` sessions that are good, the latest sign-in first, after a place (see `place`)."""
    created_at, identity = after or (None, None)
    parameters = {"user_id": user_id, "after": created_at, "after_id": identity, "fetch": fetch}
    return await tx.all(Found, "own_admin_sessions", {**parameters, "lifetime": REFRESH_SECONDS * 1000})


def place(session: Found) -> Place:
    """Where a session stands in the order."""
    return session.created_at, session.id


async def end(tx: Tx, admin: Admin, acting: Acting, session_id: UUID) -> bool:
    """End one of the admin's sessions; its tokens are void from here on. Whether there was one."""
    if not await tx.execute("end_admin_session", {"session_id": session_id, "user_id": admin.user_id}):
        return False
    ended = {"session": session_id}
    await audit.record(tx, acting, action="session.end", entity="user", entity_id=admin.user_id, old=ended)
    return True


async def end_others(tx: Tx, admin: Admin, acting: Acting) -> int:
    """End all of the admin's sessions but the present one; how many there were."""
    parameters = {"session_id": admin.session_id, "user_id": admin.user_id}
    ended = await tx.execute("end_other_admin_sessions", parameters)
    if ended:
        old = {"others": ended}
        await audit.record(tx, acting, action="session.end_others", entity="user", entity_id=admin.user_id, old=old)
    return ended
