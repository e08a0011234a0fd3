"""Backups of a realm: one file with all that its database holds, for either kind of database (docs/backup.md)."""

from sync_server.backup.archive import BackupError
from sync_server.backup.restoring import put_back, restore
from sync_server.backup.taking import take
from sync_server.backup.verifying import verify

__all__ = ["BackupError", "put_back", "restore", "take", "verify"]
