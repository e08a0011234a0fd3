"""What is done to one user, besides changing them: `/realms/{realm}/users/{id}/…`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from litestar import delete, post
from litestar.di import NamedDependency, Provide
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


@dataclass(frozen=True)
class Target:
    """The user that something is done to, and who does it."""

    server: Server
    realm: Realm
    admin: Admin
    acting: Acting
    user_id: UUID

    async def handled(self, tx: Tx, *, by_others_only: bool) -> None:
        """Raises UserNotFound; Forbidden or OwnAccount where the admin may not do it."""
        user = await management.get(tx, self.user_id)
        handling.may_handle(self.admin, user)
        if by_others_only:
            handling.is_somebody_else(self.admin, user)

    async def record(self, tx: Tx, action: str) -> None:
        await audit.record(tx, self.acting, action=action, entity="user", entity_id=self.user_id)

    async def do(self, action: str, deed: Callable[[Tx], Awaitable[object]], *, by_others_only: bool = False) -> None:
        """Do it and record it as `action`. Raises as `handled`."""

        async def done(tx: Tx) -> None:
            await self.handled(tx, by_others_only=by_others_only)
            await deed(tx)
            await self.record(tx, action)

        await self.realm.transact(done)


def _target(
    server: NamedDependency[Server],
    realm: NamedDependency[Realm],
    admin: NamedDependency[Admin],
    acting: NamedDependency[Acting],
    user_id: FromPath[UUID],
) -> Target:
    return Target(server, realm, admin, acting, user_id)


_TARGET = {"target": Provide(_target, sync_to_thread=False)}


@post(
    f"{_ONE}/reset-password",
    status_code=200,
    opt=needs(Role.ADMIN, UserNotFound, UserInactive),
    tags=["users"],
    dependencies=_TARGET,
)
async def reset_password(target: NamedDependency[Target]) -> Success[None]:
    """Mail the user a PIN with which they set a new password in the app. The present one stays good until then."""
    name, user_id = target.realm.name, target.user_id
    await target.do("user.reset_password", lambda tx: management.reset_password(tx, name, user_id))
    target.server.mailer.wake(target.realm)
    return Success(None)


@post(f"{_ONE}/sign-out", status_code=200, opt=needs(Role.ADMIN, UserNotFound), tags=["users"], dependencies=_TARGET)
async def sign_out_user(target: NamedDependency[Target]) -> Success[None]:
    """Void every token of the user. Devices sign in again by themselves as long as the password that they store is right."""
    await target.do("user.sign_out", lambda tx: management.sign_out(tx, target.user_id))
    return Success(None)


@post(
    f"{_ONE}/remove-second-factor",
    status_code=200,
    opt=needs(Role.ADMIN, UserNotFound, OwnAccount),
    tags=["users"],
    dependencies=_TARGET,
)
async def remove_second_factor(target: NamedDependency[Target]) -> Success[None]:
    """Let somebody who has lost their authenticator app sign in with the password alone. One's own takes a code."""
    await target.do("second_factor.remove", lambda tx: totp.remove(tx, target.user_id), by_others_only=True)
    return Success(None)


@delete(_ONE, status_code=200, opt=needs(Role.ADMIN, UserNotFound, OwnAccount), tags=["users"], dependencies=_TARGET)
async def delete_user(target: NamedDependency[Target]) -> Success[None]:
    """Remove the user with their devices and everything that is stored for them. There is no way back."""
    begun = False

    async def remove(tx: Tx) -> None:
        nonlocal begun
        if begun and not await management.exists(tx, target.user_id):
            return  # done, but the commit's answer was lost
        begun = True
        await target.handled(tx, by_others_only=True)
        await management.delete(tx, target.user_id)
        await target.record(tx, "user.delete")

    await target.realm.transact(remove)
    return Success(None)


ROUTES = [reset_password, sign_out_user, remove_second_factor, delete_user]
