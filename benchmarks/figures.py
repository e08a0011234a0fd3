"""What a case hands back: figures, each with what it is to be."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Target(NamedTuple):
    """What a figure's median is to reach; nothing where there is neither bound."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        """False for NaN too: what could not be measured is not met."""
        least = self.at_least is None or value >= self.at_least
        return least and (self.at_most is None or value <= self.at_most)

    def text(self, unit: str) -> str:
        parts = [
            f"{sign} {short(bound)}{unit}"
            for sign, bound in (("≥", self.at_least), ("≤", self.at_most))
            if bound is not None
        ]
        return " and ".join(parts)


class Figure(NamedTuple):
    """One line of the table."""

    case: str
    what: str
    unit: str
    """Written behind a value, with its space: " %", " ms"."""
    values: Sequence[float]
    """Run by run; the median is judged."""
    target: Target = Target()
    raw: Mapping[str, Sequence[float]] = {}
    """What the values were made of, run by run."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def verdict(self) -> str:
        if self.target == Target():
            return ""
        return "met" if self.target.met(self.median) else "MISSED"

    def document(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "what": self.what,
            "unit": self.unit.strip(),
            "median": self.median,
            "values": list(self.values),
            "target": self.target._asdict(),
            "verdict": self.verdict(),
            "raw": {name: list(values) for name, values in self.raw.items()},
        }


def percent(parts: Sequence[float], wholes: Sequence[float]) -> list[float]:
    """Pair by pair: the machine's speed drifts."""
    return [100 * part / whole for part, whole in zip(parts, wholes, strict=True)]


def p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
