"""Writing lines of the audit log."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sync_server.audit.acting import Acting
from sync_server.audit.chain import ADMINS, BUCKETS, Line, digest
from sync_server.database import Tx

_SECRET = re.compile(r"passw|secret|token(?!_epoch)|pin\b|hash|salt|totp", re.IGNORECASE)
_HIDDEN = "(not kept)"


class _Begun(NamedTuple):
    number: int
    hash: str
    at: int


async def record(
    tx: Tx,
    acting: Acting,
    *,
    action: str,
    entity: str,
    entity_id: UUID | str = "",
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    subject: UUID | None = None,
) -> None:
    """Add a line to the audit log of the realm, in the transaction that it tells of; best at its end, for its lock.

    `action`: such as "user.update"; `entity`: of what kind `entity_id` is. `old` and `new`: what changed; secrets are left
    out. `subject`: the user whose data these values are, so that they can be erased; by default the entity, where it
    is a user.
    """
    begun = await tx.one(_Begun, "begin_audit_line", {"chain_id": ADMINS})
    if begun is None:
        raise AssertionError  # the statement always gives a row
    if subject is None and entity == "user":
        subject = UUID(str(entity_id))
    content = msgspec.json.encode({"old": _without_secrets(old), "new": _without_secrets(new)}).decode()
    content_salt, address_salt = secrets.token_hex(16), secrets.token_hex(16)
    line = Line(
        chain_id=ADMINS,
        number=begun.number,
        at=begun.at,
        action=action,
        entity=entity,
        entity_id=str(entity_id),
        stamp=None,
        changes=None,
        user_id=acting.user_id,
        realm=acting.realm,
        role=acting.role,
        client_id=acting.client_id,
        via=acting.via,
        request_id=acting.request_id,
        content_digest=digest(content_salt, content),
        address_digest=digest(address_salt, acting.address),
    )
    details = {
        "content": content,
        "content_salt": content_salt,
        "address": acting.address,
        "address_salt": address_salt,
    }
    chained = {"hash": line.hash(begun.hash), "bucket": begun.number % BUCKETS, "subject_id": subject}
    await tx.execute("end_audit_line", {**line._asdict(), **details, **chained})


def _without_secrets(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {name: _HIDDEN if _SECRET.search(name) else value for name, value in values.items()}
