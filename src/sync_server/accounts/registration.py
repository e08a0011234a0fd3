"""Making accounts and adding devices to them. Atomic under races, and the same again under retries."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import structlog

from sync_server.accounts import account, guessing, protocol
from sync_server.accounts.account import Account
from sync_server.accounts.limits import Limits
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.protocol import RegisteredUser, Registration
from sync_server.bodies import new_client_id, storable
from sync_server.database import Tx
from sync_server.errors import (
    AccountsNotMade,
    ClientTaken,
    EmailTaken,
    EmailUnknown,
    InvitationOnly,
    RegistrationClosed,
    RegistrationRejected,
    TooManyClients,
    Unavailable,
)
from sync_server.limits import Limit
from sync_server.realms import Realm

log = structlog.get_logger()

_RACES = 3
_DAY = 86_400_000


class _Raced(Exception):
    """Another registration came between the look and the deed; undoes this one's transaction."""


async def register(
    realm: Realm, passwords: Passwords, making: Limits, joining: Limits, sent: Registration
) -> RegisteredUser:
    """Make a user and a client, or add a client to a user; the same registration again succeeds again.

    `making`: the limits on accounts and on trying which addresses have one; `joining`: those on guessing passwords.
    Raises EmailTaken, EmailUnknown, InvitationOnly, RegistrationClosed, RegistrationRejected, ClientTaken, InvalidBody,
    TooManyAttempts.
    """
    client = new_client_id(sent.client_id, "$.clientId")
    wanted: dict[str, Any] = {
        "client_id": client,
        "details": protocol.details(sent.client_description),
        "name": storable(sent.name or "", "$.name"),
        "language": None if sent.language is None else storable(sent.language, "$.language"),
    }
    for _ in range(_RACES):
        known = await account.find(realm, sent.email, client)
        try:
            if known.user_id is None:
                await _make_user(realm, passwords, making, sent, known, wanted)
            else:
                await _add_client(realm, passwords, joining, sent, known, wanted)
        except _Raced:
            continue
        except (AccountsNotMade, EmailTaken, EmailUnknown):
            await realm.read(making.check)
            await realm.transact(lambda tx: making.record(tx, protocol.email_key(sent.email)))
            raise
        return RegisteredUser(
            name=(wanted["name"] if known.user_id is None else known.name) or "",
            email=sent.email,
            client_id=sent.client_id,
            client_description=sent.client_description,
            new_registration=sent.new_registration,
            language=wanted["language"] if known.user_id is None else known.language,
        )
    raise Unavailable(retry_after=1)


async def _make_user(
    realm: Realm,
    passwords: Passwords,
    limits: Limits,
    sent: Registration,
    known: Account,
    wanted: dict[str, Any],
) -> None:
    if sent.new_registration is False:
        raise EmailUnknown
    if realm.settings.registration != "open":
        raise InvitationOnly if realm.settings.registration == "invite" else RegistrationClosed
    email = protocol.new_email(sent.email)
    password = protocol.new_password(sent.password, "$.password")
    if known.client_owner is not None:
        raise ClientTaken
    await realm.read(limits.check)
    user = {
        **wanted,
        "user_id": uuid4(),
        "email": email,
        "email_key": protocol.email_key(email),
        "password_hash": await passwords.hash(password),
    }

    async def create(tx: Tx) -> None:
        await tx.execute("create_space", user)
        if not await tx.execute("create_user", user) or not await tx.execute("create_client", user):
            raise _Raced
        await limits.record(tx, protocol.email_key(email))

    await realm.transact(create)


async def _add_client(
    realm: Realm,
    passwords: Passwords,
    limits: Limits,
    sent: Registration,
    known: Account,
    wanted: dict[str, Any],
) -> None:
    if sent.new_registration and known.client_owner != known.user_id:
        raise EmailTaken
    await realm.read(limits.check)
    stored = known.password_hash if known.active else None
    if not await guessing.is_right(realm, passwords, limits, sent.email, sent.password, stored):
        raise EmailTaken if sent.new_registration else RegistrationRejected
    if known.client_owner == known.user_id:
        return  # the same registration again
    if known.client_owner is not None:
        raise ClientTaken
    parameters = {**wanted, "user_id": known.user_id, "password_hash": known.password_hash}

    async def create(tx: Tx) -> None:
        await _make_room(tx, realm, known.user_id)
        if not await tx.execute("create_client", parameters):
            raise _Raced

    await realm.transact(create)


async def _make_room(tx: Tx, realm: Realm, user_id: UUID | None) -> None:
    """Raises TooManyClients when the user has as many as allowed, and has seen all of them lately."""
    limits, user = realm.settings.limits, {"user_id": user_id}
    await tx.value("lock_user", user)  # or two registrations at the same time would both find room
    if await tx.value("count_clients", user) < limits.clients_per_user:
        return
    gone = await tx.value("drop_longest_unseen_client", {**user, "unseen": limits.clients_give_way * _DAY})
    if gone is None:
        raise TooManyClients(limit=Limit("limits.clients_per_user", limits.clients_per_user))
    log.info("client_gave_way", realm=realm.name, client=str(gone))
