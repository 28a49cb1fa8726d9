"""Metric families from plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Labels = tuple[str, ...]
INFINITE = "+Inf"


def gauge(name: str, help_text: str, value: float | None) -> GaugeMetricFamily:
    """Without labels; what is not known is NaN."""
    return GaugeMetricFamily(name, help_text, value=math.nan if value is None else value)


def gauges(
    name: str, help_text: str, labels: Sequence[str], values: Mapping[Any, float]
) -> GaugeMetricFamily:
    """`values`: by the values of all labels, a tuple."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def counters(
    name: str, help_text: str, labels: Sequence[str], values: Mapping[Labels, float]
) -> CounterMetricFamily:
    """`name` without its `_total`."""
    family = CounterMetricFamily(name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def histograms(
    name: str,
    help_text: str,
    labels: Sequence[str],
    bounds: Iterable[float],
    values: Mapping[Labels, Mapping[str, float]],
) -> HistogramMetricFamily:
    """`values`: by labels how many fell into each bucket, and the `sum` of what was observed."""
    family = HistogramMetricFamily(name, help_text, labels=labels)
    names = [f"{bound:g}" for bound in bounds] + [INFINITE]
    for key, found in values.items():
        reached, buckets = 0.0, []
        for bound in names:
            reached += found.get(bound, 0)
            buckets.append((bound if bound == INFINITE else f"{float(bound)}", reached))
        family.add_metric(key, buckets=buckets, sum_value=found.get("sum", 0.0))
    return family
