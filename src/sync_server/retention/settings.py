"""The section `retention` of the configuration, for all realms or for one."""

from __future__ import annotations

from typing import Annotated

import msgspec

Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """After how many days what may go goes; null: never."""

    tombstones: Days | None = 90
    """Traces of deleted rows, and none before every client has heard of the delete."""
    deleted: Annotated[int, msgspec.Meta(ge=0, le=36_500)] | None = 30
    """What a delete replaced, where the history is not full; 0: is not kept at all, null: as long as the history's line."""
    history: Days | None = None
    overridden: Days | None = None
    kept_aside: Days | None = None
    audit: Days | None = None
    """Lines of the audit log."""
