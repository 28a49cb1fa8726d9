"""Service levels: whole weeks of TZ, exact percentiles, unknown stays unknown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from agents import budget, slo
from agents.models import Action, CrewRun, ModelCall, Step
from incidents.models import Incident, Verdict
from tests.agents.rows import an_action
from tests.conftest import Api
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 23, tzinfo=BERLIN)


@pytest.fixture(autouse=True)
def _a_monday_evening(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    monkeypatch.setattr(budget, "midnight", lambda: MONDAY)


def opened(at: datetime, verdict: Verdict | None = None, *, seconds: float | None = None) -> Incident:
    return an_incident(verdict, seconds=seconds, opened_at=at)


def diagnosed(incident: Incident, after: float, certainty: str = "CONFIRMED", *, number: int = 1) -> Step:
    run = CrewRun.objects.create(incident=incident, number=number, finished_at=MONDAY)
    return Step.objects.create(
        run=run,
        agent=Step.Agent.ANALYST,
        state="done",
        output={"cause": "a disk", "certainty": certainty},
        finished_at=incident.opened_at + timedelta(seconds=after),
    )


def test_an_incident_is_in_the_week_of_people() -> None:
    opened(MONDAY + timedelta(minutes=1))
    opened(MONDAY - timedelta(minutes=1))  # Sunday, though in UTC both were on Sunday
    this, last = slo.report(2)["weeks"]
    assert (this["week"].isoformat(), this["opened"]) == ("2026-11-23", 1)
    assert (last["week"].isoformat(), last["opened"]) == ("2026-11-16", 1)


def test_what_is_older_is_left_out() -> None:
    opened(MONDAY - timedelta(days=7, minutes=1))
    assert [week["opened"] for week in slo.report(2)["weeks"]] == [0, 0]


def test_times_are_percentiles_of_what_came_and_none_where_nothing_did() -> None:
    for seconds in range(1, 11):
        incident = opened(MONDAY, Verdict.VERIFIED, seconds=seconds * 100)
        diagnosed(incident, seconds)
    opened(MONDAY)
    [week] = slo.report(1)["weeks"]
    assert week["diagnosed_seconds"] == {"count": 10, "p50": 5, "p90": 9}
    assert week["resolved_seconds"] == {"count": 10, "p50": 500, "p90": 900}
    assert week["acknowledged_seconds"] == {"count": 0, "p50": None, "p90": None}
    assert (week["verdicts"]["verified"], week["verdicts"]["in_progress"]) == (10, 1)


def test_a_cause_that_was_not_found_is_no_diagnosis_and_the_first_that_was_counts() -> None:
    incident = opened(MONDAY)
    for number, (seconds, certainty) in enumerate(
        [(5, "INCONCLUSIVE"), (30, "LIKELY"), (90, "CONFIRMED")], 1
    ):
        diagnosed(incident, seconds, certainty, number=number)
    diagnosed(opened(MONDAY), 7, "INCONCLUSIVE")
    [week] = slo.report(1)["weeks"]
    assert week["diagnosed_seconds"] == {"count": 1, "p50": 30, "p90": 30}


def test_whose_work_it_was() -> None:
    alone, approved, by_itself = (
        opened(MONDAY, verdict)
        for verdict in (Verdict.VERIFIED, Verdict.VERIFIED, Verdict.CLEARED_BEFORE_ACTION)
    )
    for incident, by_person in ((alone, False), (approved, True), (by_itself, True)):
        helped = by_itself != incident
        an_action(incident, status=Action.Status.DONE, by_person=by_person, helped=helped)
    [week] = slo.report(1)["weeks"]
    assert week["hands"] == {"crew_alone": 1, "crew_with_approval": 1, "not_the_crew": 1}


def test_cost_by_verdict_says_what_is_not_known() -> None:
    dear, unknown = opened(MONDAY, Verdict.VERIFIED), opened(MONDAY, Verdict.NOT_FIXED)
    for incident, cost in ((dear, Decimal("0.03")), (dear, Decimal("0.01")), (unknown, None)):
        step = (
            diagnosed(incident, 1) if not incident.runs.exists() else Step.objects.get(run__incident=incident)
        )
        ModelCall.objects.create(step=step, model="m", endpoint="e", request={}, cost_usd=cost, seconds=1)
    assert slo.report(1)["cost_by_verdict"] == [
        {
            "verdict": "not_fixed",
            "incidents": 1,
            "cost_usd": None,
            "unpriced_calls": 1,
            "cost_per_incident_usd": None,
        },
        {
            "verdict": "verified",
            "incidents": 1,
            "cost_usd": Decimal("0.04"),
            "unpriced_calls": 0,
            "cost_per_incident_usd": Decimal("0.04"),
        },
    ]


def test_a_clock_that_ran_ahead_is_in_this_week() -> None:
    opened(MONDAY + timedelta(days=8))
    assert slo.report(1)["weeks"][0]["opened"] == 1


def test_two_questions_whatever_there_is() -> None:
    for _ in range(3):
        diagnosed(opened(MONDAY, Verdict.VERIFIED, seconds=5), 1)
    with CaptureQueriesContext(connection) as asked:
        slo.report(8)
    assert len(asked) == 2


def test_machines_and_people_read_it(viewer: Api, person: Callable[..., Client]) -> None:
    opened(MONDAY, Verdict.VERIFIED, seconds=3700)
    got = viewer.get("/api/v1/slo?weeks=2").json()
    assert [week["week"] for week in got["weeks"]] == ["2026-11-23", "2026-11-16"]
    assert got["weeks"][0]["resolved_seconds"]["p50"] == 3700
    assert viewer.get("/api/v1/slo?weeks=0").status_code == 400
    page = person().get("/slo")
    assert page.status_code == 200
    assert "2026-11-23" in page.content.decode()
