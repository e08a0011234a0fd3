"""Taking over a sync_server_ts database: its accounts, clients, rows and deletes. See docs/adoption.md."""

from sync_server.adoption.first_start import concerns, on_start
from sync_server.adoption.old import AdoptionError
from sync_server.adoption.progress import progress_bar
from sync_server.adoption.report import Report
from sync_server.adoption.run import adopt

__all__ = ["AdoptionError", "Report", "adopt", "concerns", "on_start", "progress_bar"]
