"""The first owner, of INITIAL_EMAIL and INITIAL_PASSWORD: somebody has to be there who can give others a role."""

from __future__ import annotations

import asyncio
import os
from typing import NamedTuple

from sync_server import audit
from sync_server.accounts import management, protocol
from sync_server.accounts.passwords import Passwords
from sync_server.audit import Acting
from sync_server.config import Config, ConfigError, Secret
from sync_server.database import Tx
from sync_server.errors import InvalidBody
from sync_server.realms import opened

_EMAIL, _PASSWORD = "INITIAL_EMAIL", "INITIAL_PASSWORD"
_SHORTEST = 8


class FirstOwner(NamedTuple):
    email: str
    password: Secret


def of_environment() -> FirstOwner | None:
    """Who is to be the first owner; the variables are taken out of the environment, which other programs inherit.

    Raises ConfigError when they cannot be used.
    """
    email, password = os.environ.pop(_EMAIL, ""), os.environ.pop(_PASSWORD, "")
    if not email and not password:
        return None
    if not email or not password:
        raise ConfigError(f"Of the environment variables {_EMAIL} and {_PASSWORD} one is not set")
    try:
        protocol.new_email(email)
    except InvalidBody:
        raise ConfigError(f"The environment variable {_EMAIL} is no email address") from None
    if len(password) < _SHORTEST:
        raise ConfigError(f"The environment variable {_PASSWORD} is shorter than {_SHORTEST} characters")
    return FirstOwner(email, Secret(password))


def make(config: Config, urls: dict[str, str], owner: FirstOwner) -> bool:
    """Make the owner unless there is one; whether they were made. Raises Unavailable.

    An account that has this address becomes the owner, with this password; it may be of somebody who was faster.
    """
    return asyncio.run(_make(config, urls, owner))


async def _make(config: Config, urls: dict[str, str], owner: FirstOwner) -> bool:
    passwords = Passwords(config.server.bcrypt_rounds)

    async def make_unless_there(tx: Tx) -> bool:
        if await management.has_owner(tx):
            return False
        made = await management.make_owner(tx, owner.email, password_hash)
        told = {"email": made.email, "role": made.role}
        await audit.record(tx, Acting(via="cli"), action="owner.create", entity="user", entity_id=made.id, new=told)
        return True

    async with opened(config, urls) as realms:
        realm = realms.named(config.owners_realm)
        if await realm.read(management.has_owner):
            return False
        password_hash = await passwords.hash(owner.password.reveal())
        return await realm.transact(make_unless_there)
