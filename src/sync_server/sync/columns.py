"""Changes as what goes into a statement as a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sync_server.sync.protocol import Change


def columns(changes: Sequence[Change], undated: int | None = None) -> dict[str, Any]:
    """Changes as the arrays that go into a statement as a set. `undated`: the date of those that have none."""
    return {
        "tablenames": [change.tablename for change in changes],
        "rowguids": [change.rowguid for change in changes],
        "client_dates": [undated if change.client_date is None else change.client_date for change in changes],
    }
