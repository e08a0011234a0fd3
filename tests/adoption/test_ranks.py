"""What conflicts with adopted rows are decided by."""

from __future__ import annotations

from adoption.conftest import adopt
from adoption.test_accounts import read, write

YEAR = 365 * 86_400_000
CURRENT = """
    SELECT DISTINCT ON (r.space_id, r.tablename, r.rowguid) r.rank, r.client_date, d.clientdate, d.serverdate
    FROM sync.rows r
    JOIN public.sync_data d
        ON d.userid = r.space_id AND d.tablename = r.tablename AND d.rowguid::text = lower(r.rowguid)
    ORDER BY r.space_id, r.tablename, r.rowguid, d.id DESC
"""


def test_a_clock_that_was_ahead_wins_no_later_conflict(old_database: str) -> None:
    """The old server took any date. The row must lose to an edit that came after it all the same (G4)."""
    write(old_database, "UPDATE public.sync_data SET clientdate = clientdate + %s WHERE id %% 2 = 0", YEAR)
    adopt(old_database)
    rows = read(old_database, CURRENT)
    ahead = [row for row in rows if row["clientdate"] > row["serverdate"]]
    assert len(ahead) > 5
    assert len(rows) > len(ahead) + 5
    for row in rows:
        assert row["rank"] == min(row["clientdate"], row["serverdate"])
        assert row["client_date"] == row["clientdate"]
