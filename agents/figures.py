"""What the last day and the last month came to: incidents, verdicts, time, money.

Counted when they are asked for, by an index that has all that is summed, so that no incident's row is read;
nothing is kept that could be out of date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils import timezone

from agents import budget, costs
from agents.models import ModelCall
from incidents.models import Incident, IncidentQuerySet, Verdict
from incidents.totals import rates

CENT = Decimal("0.01")
SPANS = {"Last 24 hours": timedelta(days=1), "Last 30 days": timedelta(days=30)}
# Best first, as a bar shows them, in words for people.
VERDICTS = {
    Verdict.VERIFIED: "Fixed, proven",
    Verdict.CLEARED_BEFORE_ACTION: "Over by itself",
    Verdict.RESOLVED_BY_HUMAN: "Resolved by a person",
    Verdict.FALSE_ALARM: "False alarm",
    Verdict.UNKNOWN: "Not proven",
    Verdict.NOT_FIXED: "Not fixed",
    Verdict.RELAPSED: "Came back",
}


@dataclass(frozen=True)
class Part:
    """A verdict's part of a bar; `start` and `share` are percentages of its length."""

    verdict: Verdict
    count: int
    start: float
    share: float

    @property
    def words(self) -> str:
        return VERDICTS[self.verdict]


@dataclass(frozen=True)
class Span:
    """What a span of time came to. Rates are from 0 to 1.

    None: nothing says (no incident ended, no price is known).
    """

    name: str
    opened: int
    verdicts: Mapping[str, int]
    proved_seconds: float | None
    cost_usd: Decimal | None
    unpriced_calls: int

    @property
    def ended(self) -> int:
        return sum(self.verdicts.values())

    @property
    def success_rate(self) -> float | None:
        return rates(self.verdicts)[0]

    @property
    def cost(self) -> str | None:
        """`$0.45`, and what is smaller than a cent; None when it is not known."""
        if self.cost_usd is None:
            return None
        return budget.shown(self.cost_usd if self.cost_usd < CENT else self.cost_usd.quantize(CENT))

    @property
    def bar(self) -> list[Part]:
        parts, start = [], 0.0
        for verdict in VERDICTS:
            if count := self.verdicts[verdict]:
                share = 100 * count / self.ended
                parts.append(Part(verdict, count, round(start, 2), round(share, 2)))
                start += share
        return parts


@dataclass(frozen=True)
class Money:
    """A budget of the calendar as it stands, in US dollars; what is held for calls under way is in it."""

    name: str
    period: str
    used_usd: Decimal
    cap_usd: Decimal

    @property
    def standing(self) -> str:
        return f"{budget.shown(self.used_usd)} of {budget.shown(self.cap_usd)}"

    @property
    def percent(self) -> int:
        """Of the cap, 100 at most; a cap of nothing is spent."""
        return min(100, int(100 * self.used_usd / self.cap_usd)) if self.cap_usd else 100


def spans() -> list[Span]:
    """The last 24 hours and the last 30 days."""
    now = timezone.now()
    since = {f"span{place}": now - length for place, length in enumerate(SPANS.values())}
    opened, ended, calls = _opened(since), list(_ended(since)), _calls(since)
    return [_span(name, key, opened, ended, calls) for key, name in zip(since, SPANS, strict=True)]


def money() -> list[Money]:
    found = []
    for each in budget.budgets():
        used = each.used()
        found.append(Money(each.name, each.period, used.spent + used.held, each.cap))
    return found


def ended_since(since: datetime, until: datetime | None = None) -> IncidentQuerySet:
    """Incidents that ended in a time. What is counted of them is all in the index `ended_incidents`."""
    rows = Incident.objects.filter(closed_at__gte=since).order_by()
    return rows if until is None else rows.filter(closed_at__lt=until)


def _span(
    name: str, key: str, opened: dict[str, Any], ended: Iterable[Mapping[str, Any]], calls: dict[str, Any]
) -> Span:
    rows = {row["verdict"]: row for row in ended}
    proved = [(row[f"{key}_seconds"], row[f"{key}_proved"]) for row in rows.values()]
    count = sum(number for _seconds, number in proved)
    return Span(
        name=name,
        opened=opened[key],
        verdicts={each: rows.get(each, {}).get(key, 0) for each in VERDICTS},
        proved_seconds=sum(seconds or 0.0 for seconds, _number in proved) / count if count else None,
        cost_usd=costs.taken(calls[f"{key}_calls"], calls[f"{key}_cost"], budget.NOTHING),
        unpriced_calls=calls[f"{key}_unpriced"],
    )


def _opened(since: Mapping[str, datetime]) -> dict[str, Any]:
    rows = Incident.objects.filter(opened_at__gte=min(since.values())).order_by()
    found: dict[str, Any] = rows.aggregate(
        **{key: Count("opened_at", filter=Q(opened_at__gte=begin)) for key, begin in since.items()}
    )
    return found


def _ended(since: Mapping[str, datetime]) -> Iterator[Mapping[str, Any]]:
    sums: dict[str, Any] = {}
    for key, begin in since.items():
        within = Q(closed_at__gte=begin)
        sums[key] = Count("closed_at", filter=within)
        sums[f"{key}_seconds"] = Sum("resolution_seconds", filter=within)
        sums[f"{key}_proved"] = Count("resolution_seconds", filter=within)
    yield from ended_since(min(since.values())).values("verdict").annotate(**sums)


def _calls(since: Mapping[str, datetime]) -> dict[str, Any]:
    """Of calls that are over, or lost; those under way are in the budgets."""
    begun = ModelCall.objects.filter(started_at__gte=min(since.values())).order_by()
    calls = begun.exclude(seconds=None, started_at__gte=budget.lost_before())
    sums: dict[str, Any] = {}
    for key, begin in since.items():
        within = Q(started_at__gte=begin)
        sums[f"{key}_calls"] = Count("started_at", filter=within)
        sums[f"{key}_cost"] = Sum("cost_usd", filter=within)
        sums[f"{key}_unpriced"] = Count("started_at", filter=within & Q(cost_usd=None))
    found: dict[str, Any] = calls.aggregate(**sums)
    return found
