"""A household of devices, whose operator looks into the same database."""

from sync.conftest import connections, new_user, user, wire

__all__ = ["connections", "new_user", "user", "wire"]
