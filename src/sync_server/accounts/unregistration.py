"""Leaving: removing a client, or a user with everything stored for them."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sync_server import audit
from sync_server.accounts import account, guessing
from sync_server.accounts.limits import Limits
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.protocol import Unregistration
from sync_server.accounts.tokens import Device
from sync_server.audit import Acting, erasing
from sync_server.bodies import client_id
from sync_server.database import Tx
from sync_server.errors import ClientMismatch, PasswordRejected, TokenRejected
from sync_server.realms import Realm


class _Space(NamedTuple):
    space_id: UUID
    shared: bool


async def unregister(
    realm: Realm,
    passwords: Passwords,
    limits: Limits,
    device: Device,
    sent: Unregistration,
    request_id: str | None = None,
) -> None:
    """Remove the client of the token; with `deleteRemoteData` the user and everything stored for them.

    `request_id`: of the call, for the audit log. Raises PasswordRejected, ClientMismatch, TokenRejected, TooManyAttempts.
    """
    client = client_id(sent.client_id, "$.clientId")
    if client != device.client_id:
        raise ClientMismatch
    if not await realm.read(lambda tx: tx.value("client_is_known", device.parameters)):
        raise TokenRejected
    await realm.read(limits.check)
    known = await account.find(realm, sent.email, client)
    stored = known.password_hash if known.user_id == device.user_id else None
    if not await guessing.is_right(realm, passwords, limits, sent.email, sent.password, stored):
        raise PasswordRejected

    async def remove_all(tx: Tx) -> None:
        """At once: the call cannot be repeated with a user who is gone."""
        if await remove_user(tx, device.user_id):
            await limits.forget(tx)
            if realm.settings.history == "full":
                await _record(tx, device, request_id)

    async def remove_client(tx: Tx) -> None:
        await tx.execute("delete_client", device.parameters)

    await realm.transact(remove_all if sent.delete_remote_data else remove_client)


async def _record(tx: Tx, device: Device, request_id: str | None) -> None:
    """Why the values of the user's pushes are erased. The lines have an id that nobody has any more, so neither address nor
    device; where there is no full history, nothing at all is left of who leaves.
    """
    acting = Acting(user_id=device.user_id, realm=device.realm, request_id=request_id, via="wire")
    await audit.record(tx, acting, action="user.delete", entity="user", entity_id=device.user_id)


async def remove_user(tx: Tx, user_id: UUID) -> bool:
    """Delete the user; the rows too unless somebody else shares them. A push under way ends first, or finds nothing.

    Whether there was such a user.
    """
    user = {"user_id": user_id}
    await tx.execute("lock_clients_of_user", user)
    space = await tx.one(_Space, "space_of_user", user)
    if space is None:
        return False
    for statement in ("delete_user", "forget_adopted_user", "forget_adoption_findings"):
        await tx.execute(statement, user)
    await erasing.erase(tx, user_id)
    if not space.shared:
        await erasing.keep_end(tx, space.space_id)
        for statement in (
            "delete_rows_of_space",
            "delete_history_of_space",
            "delete_overridden_of_space",
            "delete_space",
        ):
            await tx.execute(statement, {"space_id": space.space_id})
    return True
