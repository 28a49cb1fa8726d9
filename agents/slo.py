"""How quickly incidents are answered, diagnosed and resolved, week by week; what the crew did; what it took.

Weeks are those of TZ and begin on Monday. An incident belongs to the week in which it opened.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, DecimalField, Exists, F, Min, OuterRef, Q, Subquery, Sum
from django.utils import timezone

from agents import budget, transcript
from agents.models import Action, ModelCall
from incidents.counts import IN_PROGRESS
from incidents.models import Incident, Verdict

WEEK = timedelta(days=7)
KEPT_SECONDS = 60
TIMES = ("acknowledged", "diagnosed", "resolved")
# Whose work it was that an incident is over.
HANDS = ("crew_alone", "crew_with_approval", "not_the_crew")
PERCENTILES = {"p50": 0.5, "p90": 0.9}


@dataclass
class Week:
    """What began in one week. `times`: seconds of those that came so far, by what was waited for."""

    begins: date
    opened: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    hands: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in TIMES})

    def as_json(self) -> dict[str, Any]:
        return {
            "week": self.begins,
            "opened": self.opened,
            **{f"{name}_seconds": spread(self.times[name]) for name in TIMES},
            "hands": {name: self.hands[name] for name in HANDS},
            "verdicts": {name: self.verdicts[name] for name in (IN_PROGRESS, *Verdict.values)},
        }


def recent(weeks: int) -> dict[str, Any]:
    """`report`, at most a minute old: it reads every incident of these weeks."""
    key = f"slo:{weeks}"
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        found = report(weeks)
        cache.set(key, found, KEPT_SECONDS)
    return found


def report(weeks: int) -> dict[str, Any]:
    """The last `weeks` weeks, this one included, newest first."""
    today = budget.midnight()
    this_week = today - timedelta(days=today.weekday())
    since = this_week - (weeks - 1) * WEEK
    found = {(since + number * WEEK).date(): Week((since + number * WEEK).date()) for number in range(weeks)}
    for row in _incidents(since):
        # A clock that ran ahead opens incidents in weeks to come.
        _enter(found[min(_monday(row["opened_at"]), this_week.date())], row)
    return {
        "since": since.date(),
        "time_zone": settings.TIME_ZONE,
        "weeks": [week.as_json() for week in reversed(found.values())],
        "cost_by_verdict": list(_costs(since)),
    }


def spread(times: Iterable[float]) -> dict[str, Any]:
    """How many there are, and the percentiles, in seconds; None where there are none."""
    ordered = sorted(times)
    marks = {
        name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
        for name, share in PERCENTILES.items()
    }
    return {"count": len(ordered), **marks}


def _incidents(since: datetime) -> Iterator[dict[str, Any]]:
    causes = transcript.causes().filter(run__incident=OuterRef("pk")).order_by()
    first = causes.values("run__incident").values(at=Min("finished_at"))
    helped = Action.objects.filter(incident=OuterRef("pk"), helped=True)
    rows = Incident.objects.filter(opened_at__gte=since).order_by()
    rows = rows.annotate(diagnosed_at=Subquery(first), approved=Exists(helped.filter(by_person=True)))
    names = ("opened_at", "verdict", "acknowledged_at", "diagnosed_at", "resolution_seconds", "approved")
    yield from rows.values(*names).iterator(chunk_size=2000)


def _monday(moment: datetime) -> date:
    day = timezone.localtime(moment, ZoneInfo(settings.TIME_ZONE)).date()
    return day - timedelta(days=day.weekday())


def _enter(week: Week, row: dict[str, Any]) -> None:
    week.opened += 1
    week.verdicts[row["verdict"] or IN_PROGRESS] += 1
    if row["verdict"] == Verdict.VERIFIED:
        week.hands["crew_with_approval" if row["approved"] else "crew_alone"] += 1
    elif row["verdict"] is not None:
        week.hands["not_the_crew"] += 1
    for name in ("acknowledged", "diagnosed"):
        if (at := row[f"{name}_at"]) is not None:
            week.times[name].append(max(0.0, (at - row["opened_at"]).total_seconds()))
    if row["resolution_seconds"] is not None:
        week.times["resolved"].append(row["resolution_seconds"])


def _costs(since: datetime) -> Iterator[dict[str, Any]]:
    """US dollars of models by verdict, of what is known; a verdict of which no call was made is not here."""
    calls = ModelCall.objects.filter(step__run__incident__opened_at__gte=since).order_by()
    grouped = calls.values(verdict=F("step__run__incident__verdict")).annotate(
        incidents=Count("step__run__incident", distinct=True),
        known=Sum("cost_usd", output_field=DecimalField()),
        unpriced_calls=Count("pk", filter=Q(cost_usd=None)),
    )
    for row in sorted(grouped, key=lambda row: row["verdict"] or ""):
        known, incidents = row["known"], row["incidents"]
        yield {
            "verdict": row["verdict"] or IN_PROGRESS,
            "incidents": incidents,
            "cost_usd": known,
            "cost_per_incident_usd": None if known is None else known / incidents,
            "unpriced_calls": row["unpriced_calls"],
        }
