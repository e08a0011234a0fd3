"""`/realms/{realm}/users/{id}/export`: everything that is stored about a user, for them."""

from __future__ import annotations

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from sync_server import audit, takeout
from sync_server.accounts.roles import Role
from sync_server.admin.permissions import gives, needs
from sync_server.audit import Acting
from sync_server.database import Tx
from sync_server.errors import UserNotFound
from sync_server.realms import Realm
from sync_server.takeout import Account

_ZIP = "application/zip"


@get(
    "/realms/{realm_name:str}/users/{user_id:uuid}/export",
    opt=gives(needs(Role.ADMIN, UserNotFound), _ZIP),
    tags=["users"],
    media_type=_ZIP,
)
async def export_user(
    realm: NamedDependency[Realm], acting: NamedDependency[Acting], user_id: FromPath[UUID]
) -> Stream:
    """Everything that is stored about a user, as a zip file for them.

    Account, rows, history, lost versions, devices, and what the audit log says, as JSON Lines. Streamed; the audit log tells
    that it was asked for.
    """

    async def begin(tx: Tx) -> Account:
        found = await takeout.account(tx, user_id)
        if found is None:
            raise UserNotFound
        await audit.record(tx, acting, action="user.export", entity="user", entity_id=user_id)
        return found

    account = await realm.transact(begin)
    headers = {"Content-Disposition": f'attachment; filename="user-{user_id}.zip"'}
    return Stream(takeout.archive(realm, account), media_type=_ZIP, headers=headers)


ROUTES = [export_user]
