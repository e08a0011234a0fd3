"""What becomes of the audit log when a user is forgotten: what is personal goes, the chains stay."""

from __future__ import annotations

from uuid import UUID

from sync_server.database import Tx


async def erase(tx: Tx, user_id: UUID) -> None:
    """Remove the user's values and addresses from the lines of the log, which still tell by ids who did what when."""
    await tx.execute("erase_audited_content", {"user_id": user_id})
    await tx.execute("erase_audited_addresses", {"user_id": user_id})


async def keep_end(tx: Tx, space_id: UUID) -> None:
    """Keep the end of the chain of a space that is about to be removed, so that its lines can be verified."""
    await tx.execute("keep_end_of_chain", {"space_id": space_id})
