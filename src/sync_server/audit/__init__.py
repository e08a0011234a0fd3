"""The audit log: who did what, each line chained to the one before by its hash (docs/audit.md)."""

from sync_server.audit.acting import Acting
from sync_server.audit.recording import record, seal

__all__ = ["Acting", "record", "seal"]
