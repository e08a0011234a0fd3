"""Who acts, as the audit log tells it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

Via = Literal["api", "cli", "wire"]


class Acting(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something, from where, and by which call. What is not known is None."""

    user_id: UUID | None = None
    realm: str | None = None
    """That of the account, which an owner may act from on another one."""
    role: str | None = None
    client_id: UUID | None = None
    address: str | None = None
    request_id: str | None = None
    via: Via = "api"
