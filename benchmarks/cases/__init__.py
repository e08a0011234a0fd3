"""Every case is a module with a function that measures in a World and hands back figures; its docstring is its
contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cases import bulk, changes, cold, idle, million, pull, push, refresh, users
from figures import Figure
from world import World

CASES: dict[str, Callable[[World], Iterable[Figure]]] = {
    "push": push.measure,
    "pull": pull.measure,
    "changes": changes.measure,
    "users": users.measure,
    "refresh": refresh.measure,
    "million": million.measure,
    "bulk": bulk.measure,
    "idle": idle.measure,
    "cold": cold.measure,
}
