"""`sync-server owner`: those who may do everything in all realms."""

from __future__ import annotations

from pathlib import Path

import click

from sync_server import audit
from sync_server.accounts import management
from sync_server.accounts.listing import User
from sync_server.accounts.passwords import Passwords
from sync_server.commands import passwords, realms
from sync_server.commands.options import CONFIG
from sync_server.config import Config
from sync_server.database import Tx
from sync_server.realms import Realm


@click.group()
def owner() -> None:
    """Those who may do everything in all realms: accounts with the role `owner` in the realm that admin.realm names."""


@owner.command()
@CONFIG
@click.option("--name", default="", help="The owner's name.")
@click.argument("email")
def create(path: Path, email: str, name: str) -> None:
    """Make an owner with this address, who can then sign in to the admin API.

    Asks for a password, or reads it from standard input. An account that has this address already becomes the owner, with
    this password.
    """
    password = passwords.ask()

    async def make(config: Config, realm: Realm) -> tuple[str, User]:
        password_hash = await Passwords(config.server.bcrypt_rounds).hash(password)

        async def make_owner(tx: Tx) -> User:
            user = await management.make_owner(tx, email, password_hash, name)
            new = {"email": user.email, "role": user.role}
            await audit.record(tx, realms.ACTING, action="owner.create", entity="user", entity_id=user.id, new=new)
            return user

        return realm.name, await realm.transact(make_owner)

    realm_name, user = realms.within(path, None, make, migrate=True)
    click.echo(f"{user.email} is an owner, in realm {realm_name}")
