"""What a server takes at most: the section `limits` of the configuration, for all realms or for one."""

from __future__ import annotations

from typing import Annotated

import msgspec

KEPT_ASIDE = 256 * 1024 * 1024
SYNCS = 1000
_Bytes = Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Generous: they are there to protect a server, not to educate apps, which cannot be changed any more."""

    row: _Bytes = 32 * 1024 * 1024
    """Bytes of a row's data. A larger one is kept aside, and the rest of its push is stored."""
    rows_per_push: _Count = 100_000
    """Changes in one call. Clients before 1.4 push all that they have in one."""
    clients_per_user: _Count = 100
    clients_give_way: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 365
    """Days unseen after which a client makes room for a new one, once the user has as many as allowed."""
    syncs: _Count = SYNCS
    """Syncs of a realm that are under way at the same time, on all instances together."""
    kept_aside: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = KEPT_ASIDE
    """Bytes of changes per user that are kept aside with their data."""


class Limit(msgspec.Struct, frozen=True):
    """A limit that a call has met: the key of the configuration that raises it, and its value."""

    name: str
    most: int
