"""What is done to accounts by those who run the server: the rules of the admin API and of the command line."""

from __future__ import annotations

from uuid import UUID, uuid4

import msgspec

from sync_server.accounts import pins, protocol, resets, unregistration
from sync_server.accounts.listing import User
from sync_server.accounts.roles import Role
from sync_server.bodies import storable
from sync_server.database import Tx
from sync_server.errors import EmailTaken, UserInactive, UserNotFound

NO_PASSWORD = "none"  # noqa: S105 - no hash of any password
"""The hash of somebody who has been invited: no password belongs to it. They set one with a PIN."""
_INVITATION_LIFETIME = 7 * 86_400_000
"""Milliseconds that the mail server has to take an invitation."""


class NewUser(msgspec.Struct, frozen=True):
    """An account to be made. The same `id` again makes nothing twice."""

    email: str
    password_hash: str
    name: str = ""
    language: str | None = None
    role: Role = Role.USER
    id: UUID = msgspec.field(default_factory=uuid4)


async def create(tx: Tx, new: NewUser) -> User:
    """Make an account. Raises EmailTaken, InvalidBody."""
    email = protocol.new_email(storable(new.email, "$.email"))
    parameters = {
        "user_id": new.id,
        "email": email,
        "email_key": protocol.email_key(email),
        "name": storable(new.name, "$.name"),
        "language": None if new.language is None else storable(new.language, "$.language"),
        "password_hash": new.password_hash,
        "role": str(new.role),
    }
    await tx.execute("create_space", parameters)
    await tx.execute("make_user", parameters)
    if await tx.value("id_of_email", parameters) != new.id:
        raise EmailTaken
    return await get(tx, new.id)


async def invite(tx: Tx, realm_name: str, user_id: UUID, mail_id: UUID) -> None:
    """Queue the mail that tells somebody of their account, and how to set a password. Wake the mailer after the commit."""
    await tx.execute(
        "queue_mail",
        {
            "mail_id": mail_id,
            "user_id": user_id,
            "template": "invitation",
            "details": msgspec.json.encode({"realm": realm_name}).decode(),
            "lifetime": _INVITATION_LIFETIME,
        },
    )


async def get(tx: Tx, user_id: UUID) -> User:
    """Raises UserNotFound."""
    found = await tx.one(User, "user_by_id", {"user_id": user_id})
    if found is None:
        raise UserNotFound
    return found


async def exists(tx: Tx, user_id: UUID) -> bool:
    return await tx.one(User, "user_by_id", {"user_id": user_id}) is not None


async def find(tx: Tx, email: str) -> User:
    """The user of an address. Raises UserNotFound."""
    user_id = await tx.value("id_of_email", {"email_key": protocol.email_key(storable(email, "$.email"))})
    if user_id is None:
        raise UserNotFound
    return await get(tx, user_id)


async def locked(tx: Tx, user_id: UUID) -> User:
    """As `get`, and nobody else changes the user until the transaction ends."""
    await tx.value("lock_user", {"user_id": user_id})
    return await get(tx, user_id)


class Changes(msgspec.Struct, frozen=True):
    """What is to be different; UNSET stays as it is."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    language: str | msgspec.UnsetType | None = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET

    def differing(self, user: User) -> dict[str, object]:
        """Those that are not so already."""
        wanted = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not msgspec.UNSET}
        return {name: value for name, value in wanted.items() if value != getattr(user, name)}


async def update(tx: Tx, user: User, changes: Changes) -> User:
    """The user, who has been locked, as they are afterwards. Whoever is made inactive is out from the next call on."""
    for field in ("name", "language"):
        if isinstance(text := getattr(changes, field), str):
            storable(text, f"$.{field}")
    changed = user._replace(**changes.differing(user))  # type: ignore[arg-type]
    parameters = {"user_id": user.id, "name": changed.name, "language": changed.language, "active": changed.active}
    await tx.execute("update_user", {**parameters, "role": str(changed.role)})
    return await get(tx, user.id)


async def sign_out(tx: Tx, user_id: UUID) -> None:
    """Void every token of the user. Devices that store the password sign in again by themselves. Raises UserNotFound."""
    if not await tx.execute("void_tokens", {"user_id": user_id}):
        raise UserNotFound


async def reset_password(tx: Tx, realm_name: str, user_id: UUID) -> None:
    """Queue a mail with a PIN, with which the user sets a new password. Wake the mailer after the commit.

    Within a minute of the last PIN there is no other one. The password stays good until then. Raises UserNotFound,
    UserInactive.
    """
    user = await get(tx, user_id)
    if not user.active:
        raise UserInactive
    await resets.queue_pin(tx, realm_name, user.email_key, pins.new_nonce(), uuid4())


async def delete(tx: Tx, user_id: UUID) -> None:
    """Remove the user and everything stored for them; rows that are shared stay. Raises UserNotFound."""
    if not await unregistration.remove_user(tx, user_id):
        raise UserNotFound


async def make_owner(tx: Tx, email: str, password_hash: str, name: str = "") -> User:
    """An active owner with this address and password: a new account, or the one that there is. Raises InvalidBody."""
    email = protocol.new_email(storable(email, "$.email"))
    user_id = await tx.value("id_of_email", {"email_key": protocol.email_key(email)})
    if user_id is None:
        return await create(tx, NewUser(email, password_hash, name, role=Role.OWNER))
    await tx.execute("make_owner", {"user_id": user_id, "password_hash": password_hash})
    return await get(tx, user_id)


async def has_owner(tx: Tx) -> bool:
    """Whether there is anybody with the role `owner`."""
    return bool(await tx.value("has_owner", {}))
