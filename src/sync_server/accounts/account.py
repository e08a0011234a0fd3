"""What is known of an address."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sync_server.accounts import protocol
from sync_server.bodies import storable
from sync_server.realms import Realm


class Account(NamedTuple):
    """What is known of an address, and who owns a clientId."""

    user_id: UUID | None
    name: str | None
    language: str | None
    password_hash: str | None
    active: bool | None
    client_owner: UUID | None


async def find(realm: Realm, email: str, client: UUID) -> Account:
    """Raises InvalidBody, Unavailable."""
    parameters = {"email_key": protocol.email_key(storable(email, "$.email")), "client_id": client}
    found = await realm.read(lambda tx: tx.one(Account, "find_account", parameters))
    return found or Account(None, None, None, None, None, None)  # the statement always gives a row
