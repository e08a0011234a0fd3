"""Writing lines of the audit log."""

from __future__ import annotations

import hashlib
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


class _Digest(NamedTuple):
    stamp: int
    ordinal: int
    digest: str | None


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
    begun = await _begun(tx, "begin_audit_line", ADMINS)
    if subject is None and entity == "user":
        subject = UUID(str(entity_id))
    content = msgspec.json.encode({"old": _without_secrets(old), "new": _without_secrets(new)}).decode()
    salt = secrets.token_hex(16)
    line = _line(ADMINS, begun, acting, action, entity, str(entity_id), digest(salt, content))
    added = await _add(tx, line, begun, acting, {"subject_id": subject, "content": content, "content_salt": salt})
    await tx.execute("end_audit_line", added)


async def seal(tx: Tx, acting: Acting, space_id: UUID, stamp: int, *, action: str, subject: UUID | None) -> None:
    """Add a line to the chain of a space for the changes with this stamp, which the transaction has written to the history.

    For what no device has pushed, in realms with a full history. The space is locked, and `subject` is whose it is.
    """
    begun = await _begun(tx, "begin_space_line", space_id)
    salt = secrets.token_hex(16)
    wanted = {"space_id": space_id, "stamps": [stamp], "salts": [salt], "after": stamp - 1, "up_to": stamp}
    digests = [change.digest or "" for change in await tx.all(_Digest, "digests_of_changes", wanted)]
    covered = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    line = _line(space_id, begun, acting, action, "space", str(space_id), covered)
    line = line._replace(stamp=stamp, changes=len(digests))
    added = await _add(tx, line, begun, acting, {"subject_id": subject, "content": None, "content_salt": salt})
    await tx.execute("end_space_line", added)


async def _begun(tx: Tx, statement: str, chain: UUID) -> _Begun:
    begun = await tx.one(_Begun, statement, {"chain_id": chain})
    if begun is None:
        raise AssertionError  # there is a row for every chain
    return begun


def _line(
    chain: UUID, begun: _Begun, acting: Acting, action: str, entity: str, entity_id: str, content_digest: str
) -> Line:
    return Line(
        chain_id=chain,
        number=begun.number,
        at=begun.at,
        action=action,
        entity=entity,
        entity_id=entity_id,
        stamp=None,
        changes=None,
        user_id=acting.user_id,
        realm=acting.realm,
        role=acting.role,
        client_id=acting.client_id,
        via=acting.via,
        request_id=acting.request_id,
        content_digest=content_digest,
        address_digest="",
    )


async def _add(tx: Tx, line: Line, begun: _Begun, acting: Acting, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write the line and its details; what was written."""
    salt = secrets.token_hex(16)
    line = line._replace(address_digest=digest(salt, acting.address))
    bucket = (line.number + line.chain_id.int) % BUCKETS
    chained = {"hash": line.hash(begun.hash), "bucket": bucket, "address": acting.address, "address_salt": salt}
    added = {**line._asdict(), **content, **chained}
    await tx.execute("add_audit_line", added)
    return added


def _without_secrets(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {name: _HIDDEN if _SECRET.search(name) else value for name, value in values.items()}
