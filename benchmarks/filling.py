"""Rows that are made by SQL, since a million pushes would take too long: a user's, as if a device of theirs had pushed
them.
"""

from __future__ import annotations

import hashlib

from phone import Phone
from samples import BYTES, TABLE, Row
from world import World

PUSH = 100
"""Rows of one stamp."""
DATE = 1_700_000_000_000
"""When the device changed row number 0, in ms; each version is a day later."""
_DAY = 86_400_000
_OWNER = "sync.users u JOIN sync.clients c ON c.user_id = u.id"
_IS_OWNER = "c.id = %(client)s::uuid"
_STAMP = f"%(version)s::bigint * 100000000 + 1 + i / {PUSH}"
_DATA = f"""'{{"id":"' || i || '","version":' || %(version)s::bigint || ',"note":"' || rpad(
    'call mother before noon ' || md5(i::text) || ' bring the invoice ' || md5((i + 1)::text) || ' and the dentist',
    {BYTES - 40} - length(i::text), ' remember the garden, water the plants') || '"}}'"""
_ROWS = f"""
INSERT INTO sync.rows (space_id, tablename, rowguid, operation, row_data, client_date, rank, stamp, ordinal, client_id)
SELECT u.space_id, '{TABLE}', 'row-' || i, 'I', {_DATA}, {DATE} + i, {DATE} + i, {_STAMP}, 1 + i %% {PUSH}, c.id
FROM {_OWNER}, generate_series(0, %(count)s - 1) i WHERE {_IS_OWNER}
"""
_OVERWRITE = f"""
UPDATE sync.rows r
SET operation = 'U', row_data = {_DATA}, client_date = client_date + {_DAY}, rank = rank + {_DAY}, stamp = {_STAMP}
FROM {_OWNER}, generate_series(0, %(count)s - 1) i
WHERE {_IS_OWNER} AND r.space_id = u.space_id AND r.tablename = '{TABLE}' AND r.rowguid = 'row-' || i
"""
_HISTORY = f"""
INSERT INTO sync.history (space_id, stamp, ordinal, user_id, client_id, tablename, rowguid, operation, client_date)
SELECT u.space_id, {_STAMP}, 1 + i %% {PUSH}, u.id, c.id, '{TABLE}', 'row-' || i, 'I', {DATE} + i
FROM {_OWNER}, generate_series(0, %(count)s - 1) i WHERE {_IS_OWNER}
"""
_CLOCK = f"""
UPDATE sync.spaces s SET clock = greatest(clock, (SELECT max(r.stamp) FROM sync.rows r WHERE r.space_id = s.id))
FROM {_OWNER} WHERE s.id = u.space_id AND {_IS_OWNER}
"""
_TOP = f"SELECT s.clock FROM sync.spaces s JOIN {_OWNER} ON s.id = u.space_id WHERE {_IS_OWNER}"


def fill(world: World, url: str, phone: Phone, count: int, versions: int = 1, with_history: int = 0) -> int:
    """Give the user of `phone` so many rows; the clock of their space, which is a cursor behind them all.

    `versions` are written one over the other. `with_history`: so many rows have the lines of 99 earlier versions in the
    history, without having been written.
    """
    size = {"client": phone.client_id, "count": count}
    world.execute(url, _ROWS, _HISTORY, **size, version=100)
    for version in range(101, 100 + versions):
        world.execute(url, _OVERWRITE, _HISTORY, **size, version=version)
    for version in range(1, 100) if with_history else ():
        world.execute(url, _HISTORY, client=phone.client_id, count=with_history, version=version)
    world.execute(url, _CLOCK, **size)
    world.execute(url, "VACUUM ANALYZE sync.rows, sync.history")
    return int(world.value(url, _TOP, client=phone.client_id))


def data(number: int) -> str:
    """What the row with this number holds when it was filled with one version."""
    fill, digests = " remember the garden, water the plants" * 8, [_md5(number), _md5(number + 1)]
    note = f"call mother before noon {digests[0]} bring the invoice {digests[1]} and the dentist{fill}"
    return f'{{"id":"{number}","version":100,"note":"{note[: BYTES - 40 - len(str(number))]}"}}'


def _md5(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def row(number: int) -> Row:
    """A row that `fill` has made, to be edited: its data is not told."""
    return Row(f"row-{number}", DATE + number, "{}")
