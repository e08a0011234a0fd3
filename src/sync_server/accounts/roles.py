"""What a user may do besides syncing: the column `role`."""

from __future__ import annotations

import enum


class Role(enum.StrEnum):
    """Each may do what those before it may.

    A `user` has no business with the admin API. A `viewer` reads (and their devices pull, but do not push), a `technician`
    also handles devices and conflicts, an `admin` also users; an `owner`, in the realm that the configuration names, all of
    it in all realms.
    """

    USER = "user"
    VIEWER = "viewer"
    TECHNICIAN = "technician"
    ADMIN = "admin"
    OWNER = "owner"

    @classmethod
    def of(cls, stored: str) -> Role:
        """The role of a user whose column says `stored`; what nobody here knows allows nothing."""
        return next((role for role in cls if role == stored), cls.USER)

    def within(self, realm: str, owners_realm: str) -> Role:
        """What the role comes to in a realm: who may write one realm's database must not become master of all."""
        return Role.ADMIN if self is Role.OWNER and realm != owners_realm else self

    def covers(self, other: Role) -> bool:
        """Whether this role may do what `other` may."""
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}
