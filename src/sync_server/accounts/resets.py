"""Resetting a password by a PIN that is mailed to the user."""

from __future__ import annotations

import hmac
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from sync_server.accounts import pins, protocol
from sync_server.accounts.limits import Limits
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.protocol import PasswordChange
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.errors import PinRejected
from sync_server.keys import Keys
from sync_server.realms import Realm


class _TriedPin(NamedTuple):
    user_id: UUID
    nonce: str
    used: bool
    password_hash: str


async def demand(realm: Realm, limits: Limits, email: str) -> None:
    """Queue a mail with a new PIN, if there is such a user. Raises TooManyAttempts, for unknown addresses too."""
    nonce, mail_id = pins.new_nonce(), uuid4()
    email_key = protocol.email_key(storable(email, "$.email"))

    async def queue(tx: Tx) -> None:
        minute = await tx.value("database_time", {}) // pins.REPEAT
        await limits.record(tx, email_key, str(minute))  # the same call again does not count
        await queue_pin(tx, realm.name, email_key, nonce, mail_id)

    await realm.read(limits.check)
    await realm.transact(queue)


async def queue_pin(tx: Tx, realm_name: str, email_key: str, nonce: str, mail_id: UUID) -> None:
    """Make a PIN and queue the mail with it, if there is such a user who is not locked and had none within a minute."""
    parameters = {
        "email_key": email_key,
        "nonce": nonce,
        "tries": pins.TRIES,
        "repeat": pins.REPEAT,
        "lifetime": pins.LIFETIME,
        "mail_id": mail_id,
        "details": msgspec.json.encode({"nonce": nonce, "realm": realm_name}).decode(),
    }
    user_id = await tx.value("demand_pin", parameters)
    await tx.execute("drop_pin_mails", {"user_id": user_id})
    await tx.execute("queue_pin_mail", {**parameters, "user_id": user_id})


async def change(realm: Realm, passwords: Passwords, keys: Keys, limits: Limits, sent: PasswordChange) -> None:
    """Set a new password with the PIN, which is used up; every token of the user is void from then on.

    The same call again, as after a lost answer, succeeds again. Raises PinRejected, TooManyAttempts, InvalidBody.
    """
    sent_password = sent.password if sent.password is not None else sent.new_password
    password = protocol.new_password(sent_password, "$.password")
    email_key = protocol.email_key(storable(sent.email, "$.email"))
    given = f"{sent.pin:06}" if isinstance(sent.pin, int) else "".join(sent.pin.split())
    await realm.read(limits.check)

    tried, right = await realm.transact(lambda tx: _try(tx, keys, email_key, given))
    if right and tried is not None and not tried.used:  # only then: hashing is slow, and holds up the logins of others
        password_hash = await passwords.hash(password)
        tried, right = await realm.transact(lambda tx: _try(tx, keys, email_key, given, password_hash))
    if not right:  # in a transaction of its own: when this is one too many, the PIN's own count must stay
        await realm.transact(lambda tx: limits.record(tx, email_key, given))
    again = tried is not None and tried.used
    if not right or tried is None or (again and not await passwords.verify(password, tried.password_hash)):
        raise PinRejected


async def _try(
    tx: Tx, keys: Keys, email_key: str, given: str, password_hash: str | None = None
) -> tuple[_TriedPin | None, bool]:
    """The PIN that was tried, and whether it was right; with a hash, it is used. Refusing must not undo the count."""
    digest = keys.digest("tried PIN", email_key, given).hex()
    limit = {"email_key": email_key, "tried": digest, "lifetime": pins.LIFETIME, "tries": pins.TRIES}
    tried = await tx.one(_TriedPin, "try_pin", limit)
    expected = pins.pin(keys, tried.nonce if tried else "")
    right = hmac.compare_digest(expected.encode(), given.encode(errors="replace")) and tried is not None
    if tried and right and not tried.used and password_hash is not None:
        await tx.execute("use_pin", {"user_id": tried.user_id})
        await tx.execute("change_password", {"user_id": tried.user_id, "password_hash": password_hash})
    return tried, right
