"""`sync-server user`: a realm's users."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID, uuid4

import click
import msgspec

from sync_server import audit, takeout
from sync_server.accounts import listing, management
from sync_server.accounts.listing import User, Wanted
from sync_server.accounts.management import NO_PASSWORD, Changes, NewUser
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.roles import Role
from sync_server.admin import totp
from sync_server.commands import passwords, realms, tables
from sync_server.commands.options import CONFIG
from sync_server.commands.progress import amount
from sync_server.complaint import Complaint
from sync_server.config import Config
from sync_server.database import Tx
from sync_server.errors import UserNotFound
from sync_server.realms import Realm

_PAGE = 1000
_COLUMNS = ("email", "name", "role", "active", "devices", "last_sync", "created_at")
_REALM = click.option("--realm", required=True, help="The realm.")
_ROLE = click.Choice([str(role) for role in Role])


@click.group()
def user() -> None:
    """The users of a realm: list them, make them, change them, remove them."""


@user.command("list")
@CONFIG
@_REALM
@click.option("--search", help="Only those with this in the address or the name.")
@click.option("--role", type=_ROLE, help="Only those with this role.")
@click.option("--active/--locked", default=None, help="Only those who may sync, or who may not.")
@tables.JSON
def list_users(
    path: Path, realm: str, search: str | None, role: str | None, *, active: bool | None, as_json: bool
) -> None:
    """List users, by their addresses."""
    wanted = Wanted(search, Role(role) if role else None, active)

    async def look(_: Config, found: Realm) -> list[User]:
        return [each async for each in _users(found, wanted)]

    tables.show(_COLUMNS, map(_shown, realms.within(path, realm, look)), as_json=as_json)


async def _users(realm: Realm, wanted: Wanted) -> AsyncIterator[User]:
    after = None
    while True:
        page = await realm.read(functools.partial(_page, wanted=wanted, after=after))
        for each in page:
            yield each
        if len(page) < _PAGE:
            return
        after = listing.place(page[-1], "email")


async def _page(tx: Tx, wanted: Wanted, after: tuple[Any, UUID] | None) -> list[User]:
    return list(await listing.page(tx, wanted, "email", after, _PAGE))


@user.command()
@CONFIG
@_REALM
@click.option("--name", default="", help="The user's name.")
@click.option("--language", help="Of mails to them, such as en.")
@click.option("--role", type=_ROLE, default="user", show_default=True, help="What they may do besides syncing.")
@click.option("--invite", is_flag=True, help="Mail them how to set a password, instead of asking for one here.")
@click.argument("email")
def create(path: Path, realm: str, email: str, name: str, language: str | None, role: str, *, invite: bool) -> None:
    """Make a user. Asks for a password, or reads it from standard input. A running server sends the invitation."""
    password = None if invite else passwords.ask()

    async def make(config: Config, found: Realm) -> User:
        _check_role(config, found, role)
        password_hash = NO_PASSWORD if password is None else await Passwords(config.server.bcrypt_rounds).hash(password)
        new, mail_id = NewUser(email, password_hash, name, language, Role(role)), uuid4()

        async def create_user(tx: Tx) -> User:
            made = await management.create(tx, new)
            if invite:
                await management.invite(tx, found.name, made.id, mail_id)
            told = {"email": made.email, "name": made.name, "role": made.role, "invited": invite}
            await audit.record(tx, realms.ACTING, action="user.create", entity="user", entity_id=made.id, new=told)
            return made

        return await found.transact(create_user)

    click.echo(f"{realms.within(path, realm, make).email} has an account")


@user.command("set")
@CONFIG
@_REALM
@click.option("--name", help="Another name.")
@click.option("--language", help="Another language of mails to them.")
@click.option("--role", type=_ROLE, help="Another role.")
@click.option("--active/--locked", default=None, help="Whether they may sign in and sync.")
@click.option("--sign-out", is_flag=True, help="Void their tokens; devices that store the password sign in again.")
@click.option(
    "--remove-second-factor", is_flag=True, help="Let them sign in without a code of their authenticator app."
)
@click.argument("email")
def set_user(
    path: Path,
    realm: str,
    email: str,
    name: str | None,
    language: str | None,
    role: str | None,
    *,
    active: bool | None,
    sign_out: bool,
    remove_second_factor: bool,
) -> None:
    """Change a user. What is not given stays. Whoever is locked is out from their next call on."""
    given = {"name": name, "language": language, "role": Role(role) if role else None, "active": active}
    changes = Changes(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]

    async def change(config: Config, found: Realm) -> dict[str, object]:
        _check_role(config, found, role)
        async with _saying_if_no_owner_is_left(config, found):
            return await found.transact(
                functools.partial(
                    _change, email=email, changes=changes, sign_out=sign_out, without_second_factor=remove_second_factor
                )
            )

    done = realms.within(path, realm, change)
    told = ", ".join(f"{key}: {_said(value)}" for key, value in done.items())
    click.echo(f"{email}: {told or 'nothing to change'}")


async def _change(
    tx: Tx, email: str, changes: Changes, *, sign_out: bool, without_second_factor: bool
) -> dict[str, object]:
    """What was done."""
    before = await management.locked(tx, (await management.find(tx, email)).id)
    differing = changes.differing(before)
    done = dict(differing)
    who: dict[str, Any] = {"entity": "user", "entity_id": before.id}
    if differing:
        await management.update(tx, before, changes)
        old = {key: getattr(before, key) for key in differing}
        await audit.record(tx, realms.ACTING, action="user.update", old=old, new=differing, **who)
    if sign_out:
        await management.sign_out(tx, before.id)
        await audit.record(tx, realms.ACTING, action="user.sign_out", **who)
        done["signed out"] = True
    if without_second_factor:
        await totp.remove(tx, before.id)
        await audit.record(tx, realms.ACTING, action="second_factor.remove", **who)
        done["second factor"] = False
    return done


@user.command()
@CONFIG
@_REALM
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("email")
def delete(path: Path, realm: str, email: str, *, yes: bool) -> None:
    """Remove a user with their devices and everything that is stored for them. There is no way back but a backup."""
    if not yes:
        click.confirm(f"Remove {email} from realm {realm}, with all rows and devices?", abort=True, err=True)

    async def forget(tx: Tx) -> None:
        found = await management.find(tx, email)
        await management.delete(tx, found.id)
        await audit.record(tx, realms.ACTING, action="user.delete", entity="user", entity_id=found.id)

    async def remove(config: Config, found: Realm) -> None:
        async with _saying_if_no_owner_is_left(config, found):
            await found.transact(forget)

    realms.within(path, realm, remove)
    click.echo(f"{email} is gone")


@user.command()
@CONFIG
@_REALM
@click.argument("email")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(path: Path, realm: str, email: str, file: Path) -> None:
    """Write everything that is stored about a user to FILE, a zip archive for them: account, rows, history, devices."""

    async def begin(tx: Tx) -> takeout.Account:
        account = await takeout.account(tx, (await management.find(tx, email)).id)
        if account is None:
            raise UserNotFound
        await audit.record(tx, realms.ACTING, action="user.export", entity="user", entity_id=account.id)
        return account

    with _new_file(file) as archive:

        async def write(_: Config, found: Realm) -> None:
            account = await found.transact(begin)
            with amount("Writing", "KiB") as written:
                async for piece in takeout.archive(found, account):
                    written.advance(archive.write(piece) / 1024)

        realms.within(path, realm, write)
    click.echo(f"{file} has everything that is stored about {email}")


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file for its owner alone, which is gone again where it could not be finished. Raises Complaint."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Complaint(f"{path} is there already: give another name, or remove it") from None
    except OSError as exc:
        raise Complaint(f"{path} cannot be written: {exc.strerror}") from exc
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException as exc:
        path.unlink()
        if isinstance(exc, OSError):
            raise Complaint(f"{path} cannot be written: {exc.strerror}") from exc
        raise


@asynccontextmanager
async def _saying_if_no_owner_is_left(config: Config, realm: Realm) -> AsyncIterator[None]:
    """Whoever may run commands may remove the last owner, and make another; they should know that it was the last."""

    async def are_owners(tx: Tx) -> bool:
        return realm.name == config.owners_realm and await listing.count(tx, Wanted(None, Role.OWNER, active=True)) > 0

    before = await realm.read(are_owners)
    yield
    if before and not await realm.read(are_owners):
        click.echo("no owner is left: sync-server owner create makes one", err=True)


def _check_role(config: Config, realm: Realm, role: str | None) -> None:
    if role == Role.OWNER and realm.name != config.owners_realm:
        raise Complaint(f"owners are accounts of the realm {config.owners_realm} (admin.realm)")


def _said(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _shown(found: User) -> dict[str, Any]:
    last_sync = None if found.last_sync is None else datetime.fromtimestamp(found.last_sync / 1000, UTC)
    shown: dict[str, Any] = msgspec.to_builtins({**found._asdict(), "last_sync": None}, builtin_types=(datetime, UUID))
    del shown["email_key"]
    return {**shown, "last_sync": last_sync}
