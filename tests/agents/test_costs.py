"""Where the money went, and that what is not known is said to be unknown."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import budget
from agents.models import CrewRun, ModelCall, Step
from incidents.models import Incident
from tests.agents.rows import a_run
from tests.conftest import Api
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db
KNOWN = {"input_tokens": 1000, "cached_tokens": 600, "output_tokens": 100, "reasoning_tokens": 10}


def call(step: Step | None, cost: str | None, **fields: Any) -> None:
    ModelCall.objects.create(
        **{"step": step, "model": "m", "endpoint": "e", "request": {}, "cost_usd": cost, "seconds": 1.0}
        | fields
    )


@pytest.fixture
def incident() -> Incident:
    """Two agents worked it for 3 cents and for what is not known, and one was replayed."""
    made = an_incident(alert_name="DiskFull")
    run = CrewRun.objects.create(incident=made)
    analyst = Step.objects.create(run=run, agent="analyst")
    healer = Step.objects.create(run=run, agent="healer")
    call(analyst, "0.010000", **KNOWN)
    call(analyst, None, input_tokens=50, output_tokens=5)
    call(healer, "0.020000", **KNOWN)
    call(None, "0.005000", replay_of=analyst, model="other", **KNOWN)
    return made


def test_an_incident_by_agent(viewer: Api, incident: Incident) -> None:
    got = viewer.get(f"/api/v1/incidents/{incident.pk}/cost").json()
    assert got["total"] == {
        "calls": 3,
        "unpriced_calls": 1,
        "cost_usd": "0.030000",
        "input_tokens": 2050,
        "cached_tokens": 1200,
        "output_tokens": 205,
        "reasoning_tokens": 20,
    }
    agents = [(each["agent"], each["cost_usd"], each["unpriced_calls"]) for each in got["by_agent"]]
    assert agents == [("healer", "0.020000", 0), ("analyst", "0.010000", 1)]


def test_what_nobody_knows_is_null(viewer: Api) -> None:
    incident = an_incident()
    a_run(incident)
    total = viewer.get(f"/api/v1/incidents/{incident.pk}/cost").json()["total"]
    assert (total["calls"], total["unpriced_calls"]) == (1, 1)
    assert total["cost_usd"] is total["output_tokens"] is None
    assert viewer.get("/api/v1/incidents/999/cost").status_code == 404


def test_no_calls_cost_nothing(viewer: Api) -> None:
    total = viewer.get(f"/api/v1/incidents/{an_incident().pk}/cost").json()["total"]
    assert (total["calls"], total["cost_usd"], total["output_tokens"]) == (0, "0.000000", 0)
    assert viewer.get("/api/v1/costs").json()["total"] == total


def test_where_the_money_went(viewer: Api, incident: Incident, settings: Any) -> None:
    settings.LLM_BUDGET_DAILY_USD = 1.0
    got = viewer.get("/api/v1/costs").json()
    today = f"{budget.midnight():%Y-%m-%d}"
    assert (got["until"], got["time_zone"]) == (today, settings.TIME_ZONE)
    assert (got["total"]["cost_usd"], got["total"]["calls"]) == ("0.035000", 4)
    assert [(each["day"], each["cost_usd"]) for each in got["by_day"]] == [(today, "0.035000")]
    assert [(each["model"], each["cost_usd"]) for each in got["by_model"]] == [
        ("m", "0.030000"),
        ("other", "0.005000"),
    ]
    assert [each["agent"] for each in got["by_agent"]] == ["healer", "analyst", "replay"]
    assert [(each["alert_name"], each["calls"]) for each in got["by_alert_name"]] == [("DiskFull", 3)]
    assert [(each["incident"], each["alert_name"]) for each in got["by_incident"]] == [
        (incident.pk, "DiskFull")
    ]
    assert got["budgets"] == [
        {
            "name": "daily",
            "period": today,
            "cap_usd": "1.000000",
            "spent_usd": "0.035000",
            "held_usd": "0.000000",
        }
    ]


def test_days_are_those_of_tz_and_the_past_is_cut_off(viewer: Api, settings: Any) -> None:
    settings.TIME_ZONE = "Pacific/Kiritimati"
    step = Step.objects.create(run=CrewRun.objects.create(incident=an_incident()), agent="monitor")
    midnight = budget.midnight()
    for before in (0, 1, 86_400, 86_401):
        call(step, "0.01", started_at=midnight - timedelta(seconds=before))
    got = viewer.get("/api/v1/costs?days=2").json()
    yesterday = midnight.date() - timedelta(days=1)
    assert got["since"] == str(yesterday)
    assert [(each["day"], each["calls"]) for each in got["by_day"]] == [
        (str(yesterday), 2),
        (str(midnight.date()), 1),
    ]


@pytest.mark.parametrize("days", ["0", "367", "many", ""])
def test_a_period_that_makes_no_sense(viewer: Api, days: str) -> None:
    assert viewer.get(f"/api/v1/costs?days={days}").status_code == 400


def test_the_sums_cost_the_same_for_any_number(viewer: Api, incident: Incident) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert viewer.get("/api/v1/costs").status_code == 200
        return len(seen)

    queries()  # the first asks for the token, too
    few = queries()
    for number in range(30):
        call(a_run(an_incident(alert_name=f"A{number}")).steps.first(), "0.01")
    assert queries() == few
    assert few <= 10


def test_the_incidents_page_tells_what_it_cost(person: Any, incident: Incident) -> None:
    page = person().get(f"/incidents/{incident.pk}").content.decode()
    assert "$0.0300 · 1 call without a known price · 3 calls" in page
    assert "<b>Healer</b>" in page


def test_calls_can_be_filtered_in_the_admin(person: Any, incident: Incident) -> None:
    browser = person(superuser=True)
    address = "/admin/agents/modelcall/?step__agent__exact=analyst&cost_usd__isempty=1"
    answer = browser.get(address)
    assert answer.status_code == 200
    assert [each.cost_usd for each in answer.context["cl"].result_list] == [None]
    assert len(browser.get("/admin/agents/modelcall/?q=DiskFull").context["cl"].result_list) == 3
    assert Decimal("0.02") in [
        each.cost_usd for each in browser.get("/admin/agents/modelcall/").context["cl"].result_list
    ]
