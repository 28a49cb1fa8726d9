"""The last day and the last month: counted from the rows, and what nothing says is not invented."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from agents import figures
from agents.figures import Span
from agents.models import ModelCall, Step
from incidents.models import Incident, Verdict
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db


def ended(verdict: Verdict, ago: timedelta, *, seconds: float | None = None) -> Incident:
    then = timezone.now() - ago
    return an_incident(verdict, seconds=seconds, opened_at=then, closed_at=then)


def day_and_month() -> tuple[Span, Span]:
    day, month = figures.spans()
    return day, month


def test_an_empty_install_says_nothing_of_rates_and_times() -> None:
    for span in day_and_month():
        assert (span.opened, span.ended, span.success_rate, span.proved_seconds) == (0, 0, None, None)
        assert (span.cost_usd, span.unpriced_calls, span.bar) == (Decimal(0), 0, [])


def test_incidents_are_counted_where_they_ended() -> None:
    ended(Verdict.VERIFIED, timedelta(hours=1), seconds=60)
    ended(Verdict.CLEARED_BEFORE_ACTION, timedelta(days=2), seconds=120)
    ended(Verdict.NOT_FIXED, timedelta(days=3))
    ended(Verdict.FALSE_ALARM, timedelta(days=3))
    ended(Verdict.RELAPSED, timedelta(days=31))
    day, month = day_and_month()
    assert (day.opened, day.ended, day.success_rate, day.proved_seconds) == (1, 1, 1.0, 60)
    assert (month.opened, month.ended, month.proved_seconds) == (4, 4, 90)
    assert month.success_rate == pytest.approx(2 / 3)  # a false alarm is neither
    assert month.verdicts[Verdict.RELAPSED] == 0


def test_a_bar_is_whole_and_best_first() -> None:
    for verdict in (Verdict.UNKNOWN, Verdict.VERIFIED, Verdict.VERIFIED, Verdict.NOT_FIXED):
        ended(verdict, timedelta(hours=1))
    bar = day_and_month()[0].bar
    assert [(part.verdict, part.start, part.share) for part in bar] == [
        (Verdict.VERIFIED, 0, 50),
        (Verdict.UNKNOWN, 50, 25),
        (Verdict.NOT_FIXED, 75, 25),
    ]


def call(cost: str | None, at: datetime | None = None, *, seconds: float | None = 1.0) -> ModelCall:
    step = Step.objects.first() or a_run(an_incident()).steps.first()
    ModelCall.objects.filter(model="gpt-4o-mini", cost_usd=None, seconds=1.5).delete()  # of the run's rows
    price = None if cost is None else Decimal(cost)
    return ModelCall.objects.create(
        step=step,
        model="m",
        endpoint="http://m",
        request={},
        cost_usd=price,
        seconds=seconds,
        started_at=at or timezone.now(),
    )


def test_money_is_what_is_known_and_the_rest_is_said() -> None:
    call("0.25")
    call("0.50", timezone.now() - timedelta(days=5))
    call(None)
    day, month = day_and_month()
    assert (day.cost_usd, month.cost_usd) == (Decimal("0.25"), Decimal("0.75"))
    assert (day.unpriced_calls, month.unpriced_calls) == (1, 1)


def test_calls_without_a_price_are_not_free() -> None:
    call(None)
    assert day_and_month()[0].cost_usd is None


def test_a_call_that_was_lost_with_its_worker_is_not_free(settings: Settings) -> None:
    call(None, seconds=None)  # under way: the budgets have it
    assert (day_and_month()[0].cost_usd, day_and_month()[0].unpriced_calls) == (Decimal(0), 0)
    ago = timedelta(seconds=settings.LEASE_LIMIT_SECONDS + 1)
    call(None, timezone.now() - ago, seconds=None)
    assert (day_and_month()[0].cost_usd, day_and_month()[0].unpriced_calls) == (None, 1)


def test_budgets_of_the_calendar_stand_beside(settings: Settings) -> None:
    settings.LLM_BUDGET_DAILY_USD, settings.LLM_BUDGET_MONTHLY_USD = 1.0, None
    call("0.25")
    [daily] = figures.money()
    assert (daily.name, daily.used_usd, daily.cap_usd, daily.percent) == (
        "daily",
        Decimal("0.25"),
        Decimal(1),
        25,
    )
    settings.LLM_BUDGET_DAILY_USD = 0.0
    assert figures.money()[0].percent == 100


def test_what_is_open_has_ended_nowhere() -> None:
    an_action()
    assert day_and_month()[0].ended == 0
