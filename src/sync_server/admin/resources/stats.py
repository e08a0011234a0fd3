"""`/realms/{realm}/stats`: how much a realm does, by the hour or the day."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from sync_server.accounts.roles import Role
from sync_server.admin.envelope import Success
from sync_server.admin.permissions import needs
from sync_server.admin.shapes import milliseconds, time_of
from sync_server.realms import Realm
from sync_server.stored import stats
from sync_server.stored.stats import By, Sums

_AMOUNTS = ("syncs", "rows_in", "rows_out", "bytes_in", "bytes_out", "conflicts", "kept_aside", "calls", "errors")


class Stats(msgspec.Struct):
    """Of an hour or a day, which began `at` (UTC)."""

    at: datetime | None
    syncs: int
    """Whole ones."""
    rows_in: int
    """Changes that devices sent."""
    rows_out: int
    """Rows that devices were sent."""
    bytes_in: int
    bytes_out: int
    """Of bodies, as they went over the wire."""
    conflicts: int
    kept_aside: int
    calls: int
    errors: int
    """Calls that were refused."""
    errors_by_code: dict[str, int]
    active_devices: int
    """Devices that made a call; known for 90 days."""


@get("/realms/{realm_name:str}/stats", opt=needs(Role.VIEWER), tags=["stats"])
async def get_stats(
    realm: NamedDependency[Realm],
    by: Annotated[By, QueryParameter(description="Sums of hours or of days (UTC)")] = "hour",
    since: Annotated[
        datetime | None,
        QueryParameter(description="From the hour or day of this time on; 24 hours or 30 days if not given"),
    ] = None,
    until: Annotated[datetime | None, QueryParameter(description="Up to this time; now if not given")] = None,
) -> Success[list[Stats]]:
    """Sums of what devices did, by the hour or day, the earliest first; at most 744 hours or 400 days."""
    begin = None if since is None else milliseconds(since, 0)
    end = None if until is None else milliseconds(until, 0)
    found = await realm.transact(lambda tx: stats.read(tx, by, begin, end))
    return Success([_stats(sums) for sums in found])


def _stats(sums: Sums) -> Stats:
    amounts = {name: sums.amounts.get(name, 0) for name in _AMOUNTS}
    return Stats(at=time_of(sums.at), errors_by_code=sums.errors, active_devices=sums.devices, **amounts)


ROUTES = [get_stats]
