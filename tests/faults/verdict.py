"""What must be true when a run is over."""

from __future__ import annotations

from collections import Counter
from typing import Any

from device import Device
from faults.crowd import Crowd, Household
from faults.world import POOL, Usage, World
from game import rows_of
from twin import Applied, canonical

GROWTH = 60.0
"""MB that each process of the server may have more than after its start: buffers, caches, memory that Python keeps."""
FILES = 20
"""Open files that each may have more than at rest before, beyond its connections to the databases."""
_REALMS = 2
"""On the PostgreSQL whose connections are counted."""


def check(world: World, crowd: Crowd, before: Usage) -> Usage:
    """Raises AssertionError unless every promise was kept. The crowd has stopped, and all faults have ended."""
    assert not crowd.tally.mistakes, crowd.tally.mistakes[:5]
    crowd.look_again()
    for household in crowd.households:
        check_household(crowd, household)
    world.comes_to_rest()
    assert not world.log_faults(), world.log_faults()[:3]
    after = world.usage()
    assert after.connections <= _REALMS * POOL * world.workers, "more connections than the server may have"
    assert after.files <= before.files + (_REALMS * POOL + FILES) * world.workers, (before, after)
    assert after.rss <= before.rss + GROWTH * world.workers, (before, after)
    return after


def check_household(crowd: Crowd, household: Household) -> None:
    """The devices of a user agree with the server; nothing acknowledged is lost, nothing is there twice."""
    newcomer = crowd.newcomer(household)
    devices: list[Device] = [*household.devices, newcomer]
    for _ in range(2):
        for device in devices:
            device.sync()
    check_nothing_is_lost(household)
    check_nothing_is_there_twice(household)
    expected = {
        key: canonical(row["row_data"]) for key, row in household.user.rows().items() if row["operation"] != "D"
    }
    for device in devices:
        assert rows_of(device) == expected, f"device {devices.index(device)} differs from the server"


def check_nothing_is_lost(household: Household) -> None:
    """Every acknowledged change is current, or in the history before the current version, or kept as one that lost (G1)."""
    user = household.user
    rows = user.rows()
    history = user.history()
    for line in history:
        stored = rows[line["tablename"], line["rowguid"]]
        assert line["stamp"] <= stored["stamp"], f"the history knows of a later version than the rows: {line}"
    for key, row in rows.items():
        assert any(line["stamp"] == row["stamp"] and _key(line) == key for line in history), f"no history of {key}"
    recorded = [_applied(line) for line in [*rows.values(), *history, *user.overridden()]]
    found, said = set(recorded), {(each.key, each.change[2]) for each in recorded}
    for each in (each for device in household.devices for each in device.acknowledged):
        # another device may have said the same, and that is recorded: both deleted the row, or one got it from the other
        assert each in found or (each.key, each.change[2]) in said, f"an acknowledged change is lost: {each}"


def check_nothing_is_there_twice(household: Household) -> None:
    """A change that was sent again is recorded once (G5)."""
    for lines in (household.user.history(), household.user.overridden()):
        doubles = [change for change, times in Counter(map(_applied, lines)).items() if times > 1]
        assert not doubles, f"recorded twice: {doubles[:3]}"


def _key(line: dict[str, Any]) -> tuple[str, str]:
    return (line["tablename"], line["rowguid"])


def _applied(line: dict[str, Any]) -> Applied:
    change = (line["operation"], line["client_date"], canonical(line["row_data"]))
    return Applied(_key(line), str(line["client_id"]), change)
