"""Making accounts and adding devices to them; removing both. Atomic under races, and the same again under retries."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID, uuid4

from sync_server.accounts import protocol
from sync_server.accounts.limits import Limits
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.protocol import RegisteredUser, Registration, Unregistration
from sync_server.accounts.tokens import Device
from sync_server.bodies import client_id, storable
from sync_server.database import Tx
from sync_server.errors import (
    ClientMismatch,
    ClientTaken,
    EmailTaken,
    EmailUnknown,
    PasswordRejected,
    RegistrationRejected,
    TokenRejected,
    Unavailable,
)
from sync_server.realms import Realm

_RACES = 3


class Account(NamedTuple):
    """What is known of an address, and who owns a clientId."""

    user_id: UUID | None
    name: str | None
    language: str | None
    password_hash: str | None
    active: bool | None
    client_owner: UUID | None


class _Space(NamedTuple):
    space_id: UUID
    shared: bool


class _Raced(Exception):
    """Another registration came between the look and the deed; undoes this one's transaction."""


async def account(realm: Realm, email: str, client: UUID) -> Account:
    """Raises InvalidBody, Unavailable."""
    parameters = {"email_key": protocol.email_key(storable(email, "$.email")), "client_id": client}
    found = await realm.read(lambda tx: tx.one(Account, "find_account", parameters))
    return found or Account(None, None, None, None, None, None)  # the statement always gives a row


async def register(
    realm: Realm, passwords: Passwords, making: Limits, joining: Limits, sent: Registration, now: int
) -> RegisteredUser:
    """Make a user and a client, or add a client to a user; the same registration again succeeds again.

    `making`: the limits on accounts and on trying which addresses have one; `joining`: those on guessing passwords.
    Raises EmailTaken, EmailUnknown, RegistrationRejected, ClientTaken, InvalidBody, TooManyAttempts.
    """
    client = client_id(sent.client_id, "$.clientId")
    details = protocol.details(sent.client_description)
    language = None if sent.language is None else storable(sent.language, "$.language")
    name = storable(sent.name or "", "$.name")
    for _ in range(_RACES):
        known = await account(realm, sent.email, client)
        try:
            if known.user_id is None:
                await _make_user(realm, passwords, making, sent, known, client, details, name, language, now)
            else:
                await _add_client(realm, passwords, joining, sent, known, client, details, now)
                name, language = known.name or "", known.language
        except _Raced:
            continue
        except (EmailTaken, EmailUnknown):
            await realm.read(lambda tx: making.check(tx, now))
            await realm.transact(lambda tx: making.record(tx, now, protocol.email_key(sent.email)))
            raise
        return RegisteredUser(
            name=name,
            email=sent.email,
            client_id=sent.client_id,
            client_description=sent.client_description,
            new_registration=sent.new_registration,
            language=language,
        )
    raise Unavailable(retry_after=1)


async def _make_user(
    realm: Realm,
    passwords: Passwords,
    limits: Limits,
    sent: Registration,
    known: Account,
    client: UUID,
    details: str,
    name: str,
    language: str | None,
    now: int,
) -> None:
    if sent.new_registration is False:
        raise EmailUnknown
    email = protocol.new_email(sent.email)
    password = protocol.new_password(sent.password, "$.password")
    if known.client_owner is not None:
        raise ClientTaken
    await realm.read(lambda tx: limits.check(tx, now))
    user = {
        "user_id": uuid4(),
        "email": email,
        "email_key": protocol.email_key(email),
        "name": name,
        "language": language,
        "password_hash": await passwords.hash(password),
        "client_id": client,
        "details": details,
        "session": now,
    }

    async def create(tx: Tx) -> None:
        await tx.execute("create_space", user)
        if not await tx.execute("create_user", user) or not await tx.execute("create_client", user):
            raise _Raced
        await limits.record(tx, now, protocol.email_key(email))

    await realm.transact(create)


async def _add_client(
    realm: Realm,
    passwords: Passwords,
    limits: Limits,
    sent: Registration,
    known: Account,
    client: UUID,
    details: str,
    now: int,
) -> None:
    if sent.new_registration and known.client_owner != known.user_id:
        raise EmailTaken
    await realm.read(lambda tx: limits.check(tx, now))
    if not await passwords.verify(sent.password, known.password_hash) or not known.active:
        await realm.transact(lambda tx: limits.record(tx, now, sent.email, sent.password))
        raise EmailTaken if sent.new_registration else RegistrationRejected
    await realm.read(lambda tx: limits.check(tx, now))  # again: guesses sent at the same time were tried meanwhile
    if known.client_owner == known.user_id:
        return  # the same registration again
    if known.client_owner is not None:
        raise ClientTaken
    parameters = {
        "client_id": client,
        "details": details,
        "user_id": known.user_id,
        "password_hash": known.password_hash,
        "session": now,
    }
    if not await realm.transact(lambda tx: tx.execute("create_client", parameters)):
        raise _Raced


async def unregister(
    realm: Realm, passwords: Passwords, limits: Limits, device: Device, sent: Unregistration, now: int
) -> None:
    """Remove the client of the token; with `deleteRemoteData` the user and everything stored for them.

    Raises PasswordRejected, ClientMismatch, TokenRejected, TooManyAttempts.
    """
    client = client_id(sent.client_id, "$.clientId")
    if client != device.client_id:
        raise ClientMismatch
    if not await realm.read(lambda tx: tx.value("client_is_known", device.parameters)):
        raise TokenRejected
    await realm.read(lambda tx: limits.check(tx, now))
    known = await account(realm, sent.email, client)
    stored = known.password_hash if known.user_id == device.user_id else None
    if not await passwords.verify(sent.password, stored):
        await realm.transact(lambda tx: limits.record(tx, now, sent.email, sent.password))
        raise PasswordRejected
    await realm.read(lambda tx: limits.check(tx, now))
    remove = _remove_user if sent.delete_remote_data else _remove_client
    await realm.transact(lambda tx: remove(tx, device))
    if sent.delete_remote_data:
        await realm.transact(limits.forget)


async def _remove_client(tx: Tx, device: Device) -> None:
    await tx.execute("delete_client", device.parameters)


async def _remove_user(tx: Tx, device: Device) -> None:
    """Delete the user; the rows too unless somebody else shares them. A push under way ends first, or finds nothing."""
    await tx.execute("lock_clients_of_user", device.parameters)
    space = await tx.one(_Space, "space_of_user", device.parameters)
    if space is None:
        return
    await tx.execute("delete_user", device.parameters)
    if not space.shared:
        for statement in (
            "delete_rows_of_space",
            "delete_history_of_space",
            "delete_overridden_of_space",
            "delete_space",
        ):
            await tx.execute(statement, {"space_id": space.space_id})
