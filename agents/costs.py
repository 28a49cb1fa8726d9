"""Where the money went: sums of model calls, made by the database. Unknown costs are told as such."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, TruncDate

from agents import budget
from agents.models import ModelCall
from incidents.models import Incident

SHOWN = 20  # of models, alert names and incidents: those that cost most
SUMMED = ("cost_usd", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
SUMS: dict[str, Any] = {
    "calls": Count("pk"),
    "unpriced_calls": Count("pk", filter=Q(cost_usd=None)),
    **{f"sum_{name}": Sum(name) for name in SUMMED},
}
Cost = dict[str, Any]
T = TypeVar("T")


def taken(calls: int, known: T | None, nothing: T) -> T | None:
    """A sum over calls of what is known of them, None when nothing is; no calls take `nothing`."""
    return known if calls else nothing


def report(days: int) -> dict[str, Any]:
    """The last `days` days by TZ, today included. Replays count, but are of no alert and no incident."""
    today = budget.midnight()
    since = today - timedelta(days=days - 1)
    calls = ModelCall.objects.filter(started_at__gte=since)
    worked = calls.exclude(step=None)
    alert_name = F("step__run__incident__alert_name")
    day = TruncDate("started_at", tzinfo=ZoneInfo(settings.TIME_ZONE))
    return {
        "since": since.date(),
        "until": today.date(),
        "time_zone": settings.TIME_ZONE,
        "budgets": [_standing(each) for each in budget.budgets()],
        "total": _total(calls),
        "by_day": [_shown(row) for row in _groups(calls, day=day).order_by("day")],
        "by_agent": _by_agent(calls),
        "by_model": _dearest(calls, model_name=F("model")),
        "by_alert_name": _dearest(worked, alert_name=alert_name),
        "by_incident": _dearest(worked, incident=F("step__run__incident"), alert_name=alert_name),
    }


def of_incident(incident: Incident) -> dict[str, Any]:
    """What an incident took, whole and by agent."""
    calls = ModelCall.objects.filter(step__run__incident=incident)
    return {"total": _total(calls), "by_agent": _by_agent(calls)}


def of_incidents(pks: Collection[int]) -> dict[int, Cost]:
    """What each of several took, by its key; those that asked no model are not in it."""
    calls = ModelCall.objects.filter(step__run__incident__in=pks)
    return {row["incident"]: _shown(row) for row in _groups(calls, incident=F("step__run__incident"))}


def in_words(cost: Cost | None) -> str:
    """`$0.05`; `?` when no price is known, `$0.05 + ?` where some are not; a dash when no model was asked."""
    if cost is None:
        return "-"
    if cost["cost_usd"] is None:
        return "?"
    unknown = " + ?" if cost["unpriced_calls"] else ""
    return f"{budget.shown(Decimal(str(cost['cost_usd'])))}{unknown}"


def by_turn(incident: Incident) -> dict[str, Any]:
    """What an incident took, whole and by who asked: agent, rung and model."""
    calls = ModelCall.objects.filter(step__run__incident=incident)
    names = {"agent": F("step__agent"), "rung": F("step__rung"), "model_name": F("model")}
    return {"total": _total(calls), "by_turn": _dearest(calls, **names)}


def _standing(of: budget.Budget) -> dict[str, Any]:
    used = of.used()
    return {
        "name": of.name,
        "period": of.period,
        "cap_usd": of.cap,
        "spent_usd": used.spent,
        "held_usd": used.held,
    }


def _total(calls: QuerySet[ModelCall]) -> Cost:
    return _shown(calls.aggregate(**SUMS))


def _by_agent(calls: QuerySet[ModelCall]) -> list[Cost]:
    return _dearest(calls, agent=Coalesce("step__agent", Value("replay")))


def _dearest(calls: QuerySet[ModelCall], **keys: Any) -> list[Cost]:
    rows = _groups(calls, **keys).order_by(F("sum_cost_usd").desc(nulls_last=True), "-calls", *keys)
    return [_shown(row) for row in rows[:SHOWN]]


def _groups(calls: QuerySet[ModelCall], **keys: Any) -> Any:
    return calls.order_by().values(**keys).annotate(**SUMS)


def _shown(row: dict[str, Any]) -> Cost:
    sums = {name: taken(row["calls"], row[f"sum_{name}"], 0) for name in SUMMED}
    return {**{name: value for name, value in row.items() if not name.startswith("sum_")}, **sums}
