"""`/api/v1/stats`: what a period came to, by the same definitions as everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import periods
from agents.models import CrewRun, ModelCall, Step
from incidents.models import Incident, Verdict
from tests.conftest import Api
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db
DAY = datetime(2024, 11, 20, tzinfo=UTC)
NOTHING = {
    "incidents": 0,
    "ended": 0,
    "by_verdict": dict.fromkeys(Verdict.values, 0),
    "success_rate": None,
    "fixed_by_crew_rate": None,
    "resolution_seconds": {"count": 0, "mean": None, "p50": None, "p90": None},
    "model_calls": 0,
    "unpriced_calls": 0,
    "cost_usd": "0.000000",
}


def at(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


def ended(verdict: Verdict, *, opened: float, closed: float, seconds: float | None = None) -> Incident:
    made = an_incident(verdict, seconds=seconds, opened_at=at(opened))
    Incident.objects.filter(pk=made.pk).update(closed_at=at(closed))
    return made


def calls(incident: Incident, hour: float, *costs: str | None) -> None:
    run, _ = CrewRun.objects.get_or_create(incident=incident)
    step, _ = Step.objects.get_or_create(run=run, agent=Step.Agent.ANALYST)
    for cost in costs:
        known = None if cost is None else Decimal(cost)
        ModelCall.objects.create(step=step, model="m", request={}, cost_usd=known, started_at=at(hour))


def stats(viewer: Api, query: str) -> dict[str, Any]:
    answer = viewer.get(f"/api/v1/stats?{query}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def bare(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in ("since", "until")}


def test_where_nothing_happened_nothing_is_known_but_that_it_cost_nothing(viewer: Api) -> None:
    found = stats(viewer, "period=24h")
    assert (found["bucket"], len(found["buckets"])) == ("hour", 24)
    assert [bare(each) for each in (found["total"], *found["buckets"])] == [NOTHING] * 25


def test_two_days_of_a_known_past(viewer: Api) -> None:
    first = ended(Verdict.VERIFIED, opened=1, closed=2, seconds=100)
    ended(Verdict.CLEARED_BEFORE_ACTION, opened=3, closed=4, seconds=300)
    ended(Verdict.NOT_FIXED, opened=5, closed=25)  # the day after
    ended(Verdict.FALSE_ALARM, opened=26, closed=27)
    an_incident(opened_at=at(47.99))
    an_incident(opened_at=at(48))  # not in it any more
    calls(first, 1, "0.25", "0.5", None)
    found = stats(viewer, "since=2024-11-20T00:00:00Z&until=2024-11-22T00:00:00Z&bucket=day")
    one, two = found["buckets"]
    assert (one["since"], one["until"], two["until"]) == (
        "2024-11-20T00:00:00Z",
        "2024-11-21T00:00:00Z",
        "2024-11-22T00:00:00Z",
    )
    none = dict.fromkeys(Verdict.values, 0)
    assert bare(one) == {
        "incidents": 3,
        "ended": 2,
        "by_verdict": {**none, "verified": 1, "cleared_before_action": 1},
        "success_rate": 100.0,
        "fixed_by_crew_rate": 50.0,
        "resolution_seconds": {"count": 2, "mean": 200.0, "p50": 100.0, "p90": 300.0},
        "model_calls": 3,
        "unpriced_calls": 1,
        "cost_usd": "0.750000",
    }
    assert bare(two) == {
        **NOTHING,
        "incidents": 2,
        "ended": 2,
        "by_verdict": {**none, "not_fixed": 1, "false_alarm": 1},
        "success_rate": 0.0,
        "fixed_by_crew_rate": 0.0,
    }
    assert bare(found["total"]) == {
        **bare(one),
        "incidents": 5,
        "ended": 4,
        "by_verdict": {
            **none,
            "verified": 1,
            "cleared_before_action": 1,
            "not_fixed": 1,
            "false_alarm": 1,
        },
        "success_rate": 66.67,
        "fixed_by_crew_rate": 33.33,
    }


def test_calls_without_a_price_are_not_free(viewer: Api) -> None:
    calls(an_incident(opened_at=at(1)), 1, None)
    found = stats(viewer, "since=2024-11-20T00:00:00Z&until=2024-11-21T00:00:00Z")["total"]
    assert (found["model_calls"], found["unpriced_calls"], found["cost_usd"]) == (1, 1, None)


def test_percentiles_are_values_that_occurred(viewer: Api) -> None:
    """The lowest that at least half, or nine tenths, are not above: as PostgreSQL's percentile_disc."""
    for number in range(10, 0, -1):
        ended(Verdict.VERIFIED, opened=0, closed=number, seconds=number * 10.0)
    query = "since=2024-11-20T00:00:00Z&until=2024-11-21T00:00:00Z&bucket="
    whole = {"count": 10, "mean": 55.0, "p50": 50.0, "p90": 90.0}
    assert stats(viewer, f"{query}day")["total"]["resolution_seconds"] == whole
    hours = stats(viewer, f"{query}hour")
    assert hours["total"]["resolution_seconds"] == whole
    assert [each["resolution_seconds"]["p50"] for each in hours["buckets"][:3]] == [None, 10.0, 20.0]


def test_a_period_ends_now_with_this_bucket(viewer: Api) -> None:
    an_incident(opened_at=timezone.now())
    for period, (count, size) in periods.PERIODS.items():
        found = stats(viewer, f"period={period}")
        assert (len(found["buckets"]), found["bucket"]) == (count, size)
        assert (found["total"]["incidents"], found["buckets"][-1]["incidents"]) == (1, 1)
    assert stats(viewer, "")["bucket"] == "day"  # of 30


def test_days_and_weeks_are_those_of_people_here(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"

    def utc(month: int, day: int, hour: int = 0) -> datetime:
        return datetime(2026, month, day, hour, tzinfo=UTC)

    # On 2026-10-25 the clock went back: that day had 25 hours.
    days = periods.edges(utc(10, 24, 12), utc(10, 26, 12), "day")
    assert [f"{each:%dT%H}" for each in days] == ["24T12", "24T22", "25T23", "26T12"]
    weeks = periods.edges(utc(10, 21), utc(11, 3), "week")
    assert [f"{each:%dT%H}" for each in weeks] == ["21T00", "25T23", "01T23", "03T00"]
    assert periods.begins("7d", utc(10, 26, 12)) == utc(10, 19, 22)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("period=3d", "period"),
        ("period=7d&since=2024-11-20T00:00:00Z", "period"),
        ("until=2024-11-20T00:00:00Z", "until"),
        ("since=soon", "since"),
        ("since=1999-01-01T00:00:00Z", "since"),
        ("since=9999-01-01T00:00:00Z", "since"),
        ("since=2024-11-20T00:00:00Z&until=2024-11-20T00:00:00Z", "since"),
        ("since=2023-01-01T00:00:00Z&until=2024-11-20T00:00:00Z", "since"),
        ("since=2024-10-01T00:00:00Z&until=2024-11-20T00:00:00Z&bucket=hour", "bucket"),
        ("bucket=minute", "bucket"),
    ],
)
def test_a_period_that_is_none(viewer: Api, query: str, field: str) -> None:
    answer = viewer.get(f"/api/v1/stats?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_the_number_of_queries_grows_with_nothing(viewer: Api) -> None:
    def queries(query: str) -> int:
        with CaptureQueriesContext(connection) as seen:
            stats(viewer, query)
        return len(seen)

    queries("period=7d")  # the token is remembered
    few = queries("period=7d")
    for number in range(20):
        calls(ended(Verdict.VERIFIED, opened=number, closed=number + 1, seconds=1), number, "0.1")
    assert queries("period=90d") == few == 5


def test_a_long_span_is_counted_once_a_minute_and_says_when(viewer: Api, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    first = stats(viewer, "since=2024-01-01T00:00:00Z&until=2024-03-01T00:00:00Z")
    an_incident(opened_at=datetime(2024, 2, 1, tzinfo=UTC))
    assert stats(viewer, "since=2024-01-01T00:00:00Z&until=2024-03-01T00:00:00Z") == first
    later = stats(viewer, "since=2024-01-01T00:00:00Z&until=2024-03-01T00:01:00Z")
    assert (later["until"], later["total"]["incidents"]) == ("2024-03-01T00:01:00Z", 1)
    exact = stats(viewer, "since=2024-01-01T00:00:00Z&until=2024-03-01T00:01:30Z")
    assert exact["until"] == "2024-03-01T00:01:30Z", "what has an end is not rounded"
    short = "since=2024-01-15T00:00:00Z&until=2024-02-15T00:00:00Z"
    assert stats(viewer, short)["total"]["incidents"] == 1
    an_incident(opened_at=datetime(2024, 2, 2, tzinfo=UTC))
    assert stats(viewer, short)["total"]["incidents"] == 2
    cache.clear()
