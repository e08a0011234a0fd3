"""Metrics in the forms that Prometheus reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from sync_server.observing.catalogue import FAMILIES, PREFIX
from sync_server.observing.snapshot import Sample
from sync_server.observing.tally import BOUNDS


def text(samples: Iterable[Sample], accept: str) -> tuple[bytes, str]:
    """All families with these samples, in the form that an `Accept` header asks for, and that form's name."""
    registry = CollectorRegistry()
    registry.register(_Told(samples))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Told(Collector):
    """Samples, as prometheus_client wants them."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            self._samples[sample.family].append(sample)

    def collect(self) -> Iterator[Metric]:
        for name, family in FAMILIES.items():
            kind = {"counter": CounterMetricFamily, "histogram": HistogramMetricFamily}.get(
                family.kind, GaugeMetricFamily
            )
            metric = kind(PREFIX + name, family.help, labels=family.labels)
            for sample in self._samples[name]:
                if isinstance(metric, HistogramMetricFamily):
                    metric.add_metric(sample.labels, _buckets(sample.counts), sample.value)
                else:
                    metric.add_metric(sample.labels, sample.value)
            yield metric


def _buckets(counts: Iterable[int]) -> list[tuple[str, float]]:
    """As Prometheus wants them: how many took at most so long."""
    so_far = 0
    found = []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        so_far += count
        found.append((bound, float(so_far)))
    return found
