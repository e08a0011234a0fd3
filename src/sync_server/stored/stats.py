"""How much a realm does, by the hour or the day: what its servers have reported (reports.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from sync_server.database import Tx
from sync_server.reports import HOURS
from sync_server.stored.refusals import TooLong

By = Literal["hour", "day"]
UNITS: dict[By, int] = {"hour": 3_600_000, "day": 86_400_000}
MOST: dict[By, int] = {"hour": 31 * 24, "day": 400}
"""Hours or days that one answer tells of."""
_SHOWN: dict[By, int] = {"hour": 24, "day": 30}
"""Those up to now, where none are asked for."""
_ERROR = "error:"


class Sums(msgspec.Struct):
    """Of an hour or a day (UTC), which began `at`, ms since the epoch. `devices`: those that made a call; of days more than
    90 days ago it is not known any more, and 0.
    """

    at: int
    devices: int = 0
    amounts: dict[str, int] = {}
    errors: dict[str, int] = {}
    """By the name of the refusal."""


class _Sum(NamedTuple):
    at: int
    name: str
    amount: int


class _Active(NamedTuple):
    at: int
    devices: int


async def read(tx: Tx, by: By, since: int | None, until: int | None) -> Sequence[Sums]:
    """One for each hour or day from that of `since` to that before `until`, also where nothing happened. Raises TooLong."""
    begin, end = await _range(tx, by, since, until)
    found = {at: Sums(at, amounts={}, errors={}) for at in range(begin, end, UNITS[by])}
    wanted: dict[str, Any] = {"unit": UNITS[by], "since": begin, "until": end}
    for line in await tx.all(_Sum, "sums", wanted):
        sums = found[line.at]
        if line.name.startswith(_ERROR):
            sums.errors[line.name.removeprefix(_ERROR)] = line.amount
        else:
            sums.amounts[line.name] = line.amount
    active = tx.all(_Active, "active_by_hour" if by == "hour" else "active_by_day", {**wanted, **HOURS})
    for each in await active:
        found[each.at].devices = each.devices
    return list(found.values())


async def _range(tx: Tx, by: By, since: int | None, until: int | None) -> tuple[int, int]:
    """In whole hours or days. The present one counts where no end is given."""
    unit = UNITS[by]
    if until is None:
        until = await tx.value("time_of_database", {}) + 1
    end = -(-until // unit) * unit
    begin = end - _SHOWN[by] * unit if since is None else since // unit * unit
    if (end - begin) // unit > MOST[by]:
        raise TooLong(f"That are more than {MOST[by]} {by}s")
    return begin, end
