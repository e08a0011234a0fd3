"""Calls that make something, and that are repeated when their answer was lost: `Idempotency-Key`."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sync_server.admin.errors import KeyReused
from sync_server.admin.sessions import Admin
from sync_server.database import Tx
from sync_server.keys import Keys

_LIFETIME = 24 * 60 * 60_000
"""Milliseconds that a key is remembered."""
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"


class _Claimed(NamedTuple):
    fingerprint: str
    entity_id: UUID


class Idempotency:
    """A creating call, with or without a key. What is kept of it are digests, and the id of what was made."""

    def __init__(self, keys: Keys, admin: Admin, key: str | None, path: str, body: bytes) -> None:
        self._parameters = {
            "user_id": admin.user_id,
            "key": None if key is None else keys.digest("idempotency", path.lower(), key).hex(),
            "fingerprint": keys.digest("body", body.decode(errors="replace")).hex(),
            "lifetime": _LIFETIME,
        }

    async def first(self, tx: Tx, entity_id: UUID) -> UUID:
        """The id of what the call makes: `entity_id`, or what it made when it came with this key before.

        To be called at the beginning of the transaction that makes it. Raises KeyReused when it was another call.
        """
        if self._parameters["key"] is None:
            return entity_id
        parameters = {**self._parameters, "entity_id": entity_id}
        await tx.execute("drop_expired_idempotency_keys", parameters)
        await tx.execute("claim_idempotency_key", parameters)
        found = await tx.one(_Claimed, "idempotency_key", parameters)
        if found is None or found.fingerprint != parameters["fingerprint"]:
            raise KeyReused
        return found.entity_id
