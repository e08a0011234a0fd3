"""Whom one may handle: nobody above oneself, and not everything of oneself."""

from __future__ import annotations

from sync_server.accounts.listing import User
from sync_server.accounts.roles import Role
from sync_server.admin.errors import Forbidden, Invalid, OwnAccount
from sync_server.admin.sessions import Admin
from sync_server.realms import Realm


def may_handle(admin: Admin, user: User) -> None:
    """Raises Forbidden when the user stands above the admin.

    An owner does so in every realm: where `owner` comes to less it may still be the same account, as realms may share a
    database.
    """
    role = Role.of(user.role)
    if not admin.role.covers(role):
        raise Forbidden("You cannot change somebody with a higher role than yours", needed=str(role))


def may_give(admin: Admin, realm: Realm, role: Role, owners_realm: str) -> None:
    """Raises Forbidden when the role is above the admin's own; Invalid when the realm has none such."""
    if role is Role.OWNER and realm.name != owners_realm:
        raise Invalid(fields={"role": "Owners are accounts of the realm that the configuration names in admin.realm"})
    if not admin.role.covers(role):
        raise Forbidden("You cannot give a higher role than yours", needed=str(role))


def is_somebody_else(admin: Admin, user: User) -> None:
    """Raises OwnAccount: who locks, removes or demotes themselves could be the last one who can undo it.

    The id says so, not the realm: see `may_handle`.
    """
    if admin.user_id == user.id:
        raise OwnAccount
