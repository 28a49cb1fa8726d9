"""What a period came to, whole and in buckets: incidents, verdicts, time to resolve, money.

What opened in a bucket is counted there; verdicts and times are of what ended in it, costs of the calls begun
in it. The database counts, in five statements whatever the period. Hours are UTC's, days and weeks are TZ's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Sum, Value, When
from django.db.models.expressions import Combinable
from django.utils import timezone

from agents import budget, costs
from agents.models import ModelCall
from incidents.models import Incident, Verdict
from incidents.totals import percent, rates

Size: TypeAlias = Literal["hour", "day", "week"]
LENGTHS: dict[Size, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}
# How many buckets of what size, the present one included.
PERIODS: dict[str, tuple[int, Size]] = {
    "24h": (24, "hour"),
    "7d": (7, "day"),
    "30d": (30, "day"),
    "90d": (90, "day"),
    "52w": (52, "week"),
}
WHOLE = -1
LONG = timedelta(days=31)
KEPT_SECONDS = 60
# The lowest of the values that at least so many are not above: `percentile_disc`, which SQLite lacks.
PERCENTILES = """
SELECT bucket, MIN(CASE WHEN place >= 0.5 THEN seconds END), MIN(CASE WHEN place >= 0.9 THEN seconds END)
FROM (SELECT bucket, seconds, CUME_DIST() OVER (PARTITION BY bucket ORDER BY seconds) AS place
    FROM ({}) proved) placed
GROUP BY bucket"""


@dataclass
class Figures:
    """One bucket, or the whole period. `seconds`: the sum of `proved` times to the proof. `known_usd`: what
    is known of what the calls cost.
    """

    since: datetime
    until: datetime
    opened: int = 0
    by_verdict: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Verdict.values, 0))
    proved: int = 0
    seconds: float = 0.0
    p50: float | None = None
    p90: float | None = None
    calls: int = 0
    unpriced: int = 0
    known_usd: Decimal | None = None

    def as_json(self) -> dict[str, Any]:
        success, fixed = rates(self.by_verdict)
        mean = self.seconds / self.proved if self.proved else None
        return {
            "since": self.since,
            "until": self.until,
            "incidents": self.opened,
            "ended": sum(self.by_verdict.values()),
            "by_verdict": self.by_verdict,
            "success_rate": percent(success),
            "fixed_by_crew_rate": percent(fixed),
            "resolution_seconds": {"count": self.proved, "mean": mean, "p50": self.p50, "p90": self.p90},
            "model_calls": self.calls,
            "unpriced_calls": self.unpriced,
            "cost_usd": costs.taken(self.calls, self.known_usd, budget.NOTHING),
        }


def begins(period: str, now: datetime) -> datetime:
    """When a period of PERIODS, of which the bucket of `now` is the last, began."""
    count, size = PERIODS[period]
    if size == "hour":
        return _floor(now, size) - (count - 1) * LENGTHS[size]
    zone = ZoneInfo(settings.TIME_ZONE)
    first = _floor(now, size).astimezone(zone).date() - (count - 1) * LENGTHS[size]
    return _midnight(datetime.combine(first, time()))


def edges(since: datetime, until: datetime, size: Size) -> list[datetime]:
    """Where buckets begin, and where the last one ends. The first and the last may be cut short."""
    found = [since]
    moment = _next(since, size)
    while moment < until:
        found.append(moment)
        moment = _next(moment, size)
    return [*found, until]


def recent(since: datetime, until: datetime | None, size: Size) -> dict[str, Any]:
    """`report`, up to now without `until`; of a long span, where it reads very many rows, at most a minute
    old, as its `until` says.
    """
    end = until or timezone.now()
    if end - since <= LONG:
        return report(since, end, size)
    key = f"stats:{since.timestamp()}:{until and until.timestamp()}:{size}"
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        found = report(since, end, size)
        cache.set(key, found, KEPT_SECONDS)
    return found


def report(since: datetime, until: datetime, size: Size) -> dict[str, Any]:
    """From `since`, which is before `until`, up to but not including that. Unknown is None."""
    marks = edges(since, until, size)
    buckets = {number: Figures(*span) for number, span in enumerate(pairwise(marks))}
    figures = {WHOLE: Figures(since, until), **buckets}
    opened = Incident.objects.filter(opened_at__gte=since, opened_at__lt=until).order_by()
    for row in _grouped(opened, "opened_at", marks, opened=Count("*")):
        figures[row["bucket"]].opened = row["opened"]
    ended = Incident.objects.filter(closed_at__gte=since, closed_at__lt=until).order_by()
    sums: dict[str, Any] = {
        "count": Count("*"),
        "seconds": Sum("resolution_seconds"),
        "proved": Count("resolution_seconds"),
    }
    for row in _grouped(ended, "closed_at", marks, "verdict", **sums):
        _enter_ended(figures[row["bucket"]], row)
    _enter_percentiles(figures, ended.filter(resolution_seconds__isnull=False), marks)
    _enter_costs(figures, since, until, marks)
    _sum_up(figures[WHOLE], buckets.values())
    return {
        "since": since,
        "until": until,
        "bucket": size,
        "time_zone": settings.TIME_ZONE,
        "total": figures[WHOLE].as_json(),
        "buckets": [each.as_json() for each in buckets.values()],
    }


def _enter_ended(figures: Figures, row: Mapping[str, Any]) -> None:
    figures.by_verdict[row["verdict"]] = row["count"]
    figures.proved += row["proved"]
    figures.seconds += row["seconds"] or 0.0


def _enter_percentiles(
    figures: dict[int, Figures], proved: QuerySet[Incident], marks: list[datetime]
) -> None:
    for place in (_place("closed_at", marks), Value(WHOLE, output_field=IntegerField())):
        rows = proved.values(bucket=place, seconds=F("resolution_seconds"))
        sql, values = rows.query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(PERCENTILES.format(sql), values)
            for bucket, p50, p90 in cursor.fetchall():
                figures[bucket].p50, figures[bucket].p90 = p50, p90


def _enter_costs(
    figures: dict[int, Figures], since: datetime, until: datetime, marks: list[datetime]
) -> None:
    calls = ModelCall.objects.filter(started_at__gte=since, started_at__lt=until).order_by()
    sums: dict[str, Any] = {
        "calls": Count("*"),
        "unpriced": Count("pk", filter=Q(cost_usd=None)),
        "known": Sum("cost_usd"),
    }
    for row in _grouped(calls, "started_at", marks, **sums):
        found = figures[row["bucket"]]
        found.calls, found.unpriced, found.known_usd = row["calls"], row["unpriced"], row["known"]


def _sum_up(whole: Figures, buckets: Iterable[Figures]) -> None:
    for each in buckets:
        whole.opened += each.opened
        whole.proved += each.proved
        whole.seconds += each.seconds
        whole.calls += each.calls
        whole.unpriced += each.unpriced
        if each.known_usd is not None:
            whole.known_usd = each.known_usd + (whole.known_usd or 0)
        for verdict, count in each.by_verdict.items():
            whole.by_verdict[verdict] += count


def _grouped(rows: Any, name: str, marks: list[datetime], *keys: str, **sums: Any) -> Any:
    return rows.values(*keys, bucket=_place(name, marks)).annotate(**sums)


def _place(name: str, marks: list[datetime], first: int = 0) -> Combinable:
    """The number of the bucket that a moment lies in, found by halves."""
    if len(marks) <= 2:
        return Value(first, output_field=IntegerField())
    half = len(marks) // 2
    return Case(
        When(**{f"{name}__lt": marks[half]}, then=_place(name, marks[: half + 1], first)),
        default=_place(name, marks[half:], first + half),
    )


def _floor(moment: datetime, size: Size) -> datetime:
    """When the hour, day or week of a moment began."""
    if size == "hour":
        return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    local = moment.astimezone(ZoneInfo(settings.TIME_ZONE))
    back = timedelta(days=local.weekday() if size == "week" else 0)
    return _midnight(datetime.combine(local.date() - back, time()))


def _next(moment: datetime, size: Size) -> datetime:
    """When the next hour, day or week after a moment begins: not every day has 24 hours."""
    begun = _floor(moment, size)
    if size == "hour":
        return begun + LENGTHS[size]
    local = begun.astimezone(ZoneInfo(settings.TIME_ZONE))
    return _midnight(datetime.combine(local.date() + LENGTHS[size], time()))


def _midnight(naive: datetime) -> datetime:
    return naive.replace(tzinfo=ZoneInfo(settings.TIME_ZONE)).astimezone(UTC)
