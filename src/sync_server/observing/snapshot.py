"""What a process says of itself at a moment, and what several say together."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from sync_server.observing.catalogue import FAMILIES
from sync_server.observing.tally import BOUNDS, Histogram

Labels = tuple[str, ...]
STALE = 10.0
"""Seconds after which a process that has said nothing counts as gone: its counters stay, its gauges do not."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    family: str
    labels: Labels
    value: float
    counts: Sequence[int] = ()
    """Of a histogram's buckets; `value` is its sum."""


class Snapshot(msgspec.Struct, frozen=True):
    taken: float
    """On this machine's monotonic clock, which its processes share."""
    samples: Sequence[Sample]


def snapshot(samples: Iterable[Sample]) -> Snapshot:
    return Snapshot(time.monotonic(), list(samples))


def histogram(family: str, labels: Labels, found: Histogram) -> Sample:
    return Sample(family, labels, found.sum, tuple(found.counts))


def together(snapshots: Iterable[Snapshot], now: float) -> list[Sample]:
    """One sample for each family and labels, whichever process knows of it. Ordered as the catalogue is."""
    found: dict[tuple[str, Labels], list[Sample]] = defaultdict(list)
    for each in snapshots:
        gone = now - each.taken > STALE
        for sample in each.samples:
            if sample.family in FAMILIES and not (gone and FAMILIES[sample.family].kind in {"sum", "most"}):
                found[sample.family, sample.labels].append(sample)
    order = list(FAMILIES)
    keys = sorted(found, key=lambda key: (order.index(key[0]), key[1]))
    return [_one(family, labels, found[family, labels]) for family, labels in keys]


def _one(family: str, labels: Labels, samples: list[Sample]) -> Sample:
    values = [sample.value for sample in samples]
    value = max(values) if FAMILIES[family].kind == "most" else sum(values)
    if FAMILIES[family].kind != "histogram":
        return Sample(family, labels, value)
    counts = [sum(sample.counts[index] for sample in samples) for index in range(len(BOUNDS) + 1)]
    return Sample(family, labels, value, counts)
