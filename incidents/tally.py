"""Totals that are kept with the transactions that change them, so that they are exact whatever is killed.

A row for each series, which everybody would update, would make all writers wait for each other. So a
transaction only inserts what it adds, in one row, and `fold` adds those rows up from time to time. Who reads
takes both in one statement, which is one snapshot.

Amounts are whole numbers, in small units where they are fractions: sums of floating point depend on the order
of their parts, and a counter that is less by the last bit is a restart to Prometheus.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from django.db import connection, transaction

from incidents import rawinsert
from incidents.models import TallyChange

Series = tuple[str, ...]
Change = tuple[Series, int]

MICRO = 1_000_000  # of a second
NANO = 1_000_000_000  # of a dollar
LONGEST = 365 * 86400.0
FOLD_MOST = 2_000
FOLD_LEAST = 100  # fewer are as quickly read as folded

# Upper bounds in seconds, by series; what is above the last is counted as +Inf.
BUCKETS: dict[str, tuple[float, ...]] = {
    "resolution": (60, 300, 900, 3600, 14400, 86400),
    "response": (1, 5, 30, 60, 300),
    "agent_duration": (1, 5, 15, 60, 300),
    "tool_duration": (0.1, 1, 10),
    "memory_search": (0.005, 0.02, 0.05, 0.2, 1),
}
ABOVE = "+Inf"

READ = """
SELECT series, amount, NULL FROM incidents_tally
UNION ALL SELECT NULL, NULL, amounts FROM incidents_tallychange
"""
FOLD = """
INSERT INTO incidents_tally (series, amount) VALUES {}
ON CONFLICT (series) DO UPDATE SET amount = incidents_tally.amount + excluded.amount
"""
ROWS = 400  # of one statement


def one(name: str, *labels: str, times: int = 1) -> Change:
    return (name, *labels), times


def seconds(name: str, *labels: str, took: float) -> list[Change]:
    """An observation of a histogram: its bucket and its sum."""
    bounds = BUCKETS[name]
    place = bisect_left(bounds, took)
    bucket = ABOVE if place == len(bounds) else f"{bounds[place]:g}"
    return [((name, *labels, bucket), 1), ((name, *labels, "sum"), micros(took))]


def micros(took: float) -> int:
    """Microseconds. More than a year counts as one: a sender may write any year, and a sum that is too large
    for its column would stop all others from being added up.
    """
    return round(max(0.0, min(took, LONGEST)) * MICRO)


def add(changes: Iterable[Change]) -> None:
    """Count with the caller's transaction; without one, at once."""
    rawinsert.insert(as_rows(changes))


def as_rows(changes: Iterable[Change]) -> list[TallyChange]:
    """What counts them once it is inserted: one row, or none when there is nothing to count."""
    summed: Counter[Series] = Counter()
    for series, amount in changes:
        summed[series] += amount
    amounts = [[list(series), amount] for series, amount in summed.items() if amount]
    return [TallyChange(amounts=json.dumps(amounts, separators=(",", ":")))] if amounts else []


def read() -> Counter[Series]:
    """All series as they are now, in one statement."""
    found: Counter[Series] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(READ)
        for series, amount, amounts in cursor.fetchall():
            if series is not None:
                found[tuple(json.loads(series))] += amount
            else:
                _add_up(found, amounts)
    return found


def _add_up(found: Counter[Series], amounts: str) -> None:
    for series, amount in json.loads(amounts):
        found[tuple(series)] += amount


def fold(least: int = FOLD_LEAST) -> int:
    """Add up the oldest changes; how many there were. Any number of processes may do so at once."""
    waiting = TallyChange.objects.count()
    return _fold() if waiting >= max(least, 1) else 0


@transaction.atomic
def _fold() -> int:
    rows = TallyChange.objects.order_by("pk")
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    some = list(rows[:FOLD_MOST])
    summed: Counter[Series] = Counter()
    for row in some:
        _add_up(summed, row.amounts)
    # In one order, so that two processes which fold at once do not wait for each other's rows.
    parts = sorted((_name(series), amount) for series, amount in summed.items())
    with connection.cursor() as cursor:
        for start in range(0, len(parts), ROWS):
            part = parts[start : start + ROWS]
            values = [each for row in part for each in row]
            cursor.execute(FOLD.format(", ".join(["(%s, %s)"] * len(part))), values)
    TallyChange.objects.filter(pk__in=[row.pk for row in some]).delete()
    return len(some)


def _name(series: Series) -> str:
    return json.dumps(series, separators=(",", ":"))
