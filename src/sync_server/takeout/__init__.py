"""Everything that is stored about a user, as one archive for them. Knows nothing of HTTP."""

from sync_server.takeout.archive import archive
from sync_server.takeout.files import Account, account

__all__ = ["Account", "account", "archive"]
