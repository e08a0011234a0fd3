"""What is done to one user, besides changing them: `/realms/{realm}/users/{id}/…`."""

from __future__ import annotations

from uuid import UUID

from litestar import delete, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from sync_server import audit
from sync_server.accounts import management
from sync_server.accounts.roles import Role
from sync_server.admin import handling, totp
from sync_server.admin.envelope import Success
from sync_server.admin.errors import OwnAccount
from sync_server.admin.permissions import needs
from sync_server.admin.sessions import Admin
from sync_server.audit import Acting
from sync_server.database import Tx
from sync_server.errors import UserInactive, UserNotFound
from sync_server.realms import Realm
from sync_server.server import Server

_ONE = "/realms/{realm_name:str}/users/{user_id:uuid}"


@post(f"{_ONE}/reset-password", status_code=200, opt=needs(Role.ADMIN, UserNotFound, UserInactive), tags=["users"])
async def reset_password(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    user_id: FromPath[UUID],
) -> Success[None]:
    """Mail the user a PIN with which they set a new password in the app. The present one stays good until then."""

    async def reset(tx: Tx) -> None:
        handling.may_handle(admin, realm, await management.get(tx, user_id), server.config.owners_realm)
        await management.reset_password(tx, realm.name, user_id)
        await audit.record(tx, acting, action="user.reset_password", entity="user", entity_id=user_id)

    await realm.transact(reset)
    server.mailer.wake(realm)
    return Success(None)


@post(f"{_ONE}/sign-out", status_code=200, opt=needs(Role.ADMIN, UserNotFound), tags=["users"])
async def sign_out_user(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    user_id: FromPath[UUID],
) -> Success[None]:
    """Void every token of the user. Devices sign in again by themselves as long as the password that they store is right."""

    async def sign_out(tx: Tx) -> None:
        handling.may_handle(admin, realm, await management.get(tx, user_id), server.config.owners_realm)
        await management.sign_out(tx, user_id)
        await audit.record(tx, acting, action="user.sign_out", entity="user", entity_id=user_id)

    await realm.transact(sign_out)
    return Success(None)


@post(f"{_ONE}/remove-second-factor", status_code=200, opt=needs(Role.ADMIN, UserNotFound, OwnAccount), tags=["users"])
async def remove_second_factor(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    user_id: FromPath[UUID],
) -> Success[None]:
    """Let somebody who has lost their authenticator app sign in with the password alone. One's own takes a code."""

    async def remove(tx: Tx) -> None:
        user = await management.get(tx, user_id)
        handling.may_handle(admin, realm, user, server.config.owners_realm)
        handling.is_somebody_else(admin, realm, user)
        await totp.remove(tx, user_id)
        await audit.record(tx, acting, action="second_factor.remove", entity="user", entity_id=user_id)

    await realm.transact(remove)
    return Success(None)


@delete(_ONE, status_code=200, opt=needs(Role.ADMIN, UserNotFound, OwnAccount), tags=["users"])
async def delete_user(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    user_id: FromPath[UUID],
) -> Success[None]:
    """Remove the user with their devices and everything that is stored for them. There is no way back."""
    begun = False

    async def remove(tx: Tx) -> None:
        nonlocal begun
        if begun and not await management.exists(tx, user_id):
            return  # done, but the commit's answer was lost
        begun = True
        user = await management.get(tx, user_id)
        handling.may_handle(admin, realm, user, server.config.owners_realm)
        handling.is_somebody_else(admin, realm, user)
        await management.delete(tx, user_id)
        await audit.record(tx, acting, action="user.delete", entity="user", entity_id=user_id)

    await realm.transact(remove)
    return Success(None)


ROUTES = [reset_password, sign_out_user, remove_second_factor, delete_user]
