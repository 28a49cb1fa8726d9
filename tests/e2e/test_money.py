"""A storm of incidents, many workers at once, and five cents: what is spent, and who works the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from agents import budget, cases, reasoners
from agents.answers import Triage
from agents.loop import Brief
from agents.models import CrewRun, ModelCall, Step
from agents.reasoners import dialects
from incidents.alertmanager import Alert
from incidents.intake import apply_alerts
from incidents.models import Notification

from . import openai_server as oai
from .on_postgres import at_once, on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = pytest.mark.e2e
WORKERS = 8
TRIAGE = {"state": "unknown", "affected": [], "summary": "nobody can say"}


def answers(request: dict[str, Any]) -> Any:
    """Slow enough that calls of several workers are under way at once."""
    return oai.Response(message=oai.call_tools(oai.tool_call("submit_triage", TRIAGE)), delay=0.05)


@pytest.fixture
def model(settings: Any) -> Iterator[oai.OpenAIServer]:
    dialects.forget()
    with oai.OpenAIServer(answers) as running:
        settings.OPENAI_BASE_URL = running.base_url
        settings.OPENAI_MODEL = "dear"
        settings.LLM_PRICES = {"dear": (Decimal("0.60"), Decimal("2.40"), Decimal("0.30"))}
        settings.LLM_BUDGET_DAILY_USD = 0.05
        settings.NOTIFY_URLS = ["json://127.0.0.1:1/"]
        yield running


def steps(number: int) -> list[int]:
    """The Monitor's, of so many critical incidents: storms keep no model from those."""
    alerts = [
        Alert(
            fingerprint=f"f{place}",
            firing=True,
            labels={"alertname": f"Down{place}", "severity": "critical"},
            annotations={"summary": f"service {place} is down"},
            starts_at=timezone.now(),
            ends_at=None,
        )
        for place in range(number)
    ]
    incidents = apply_alerts(source="alertmanager", alerts=alerts)
    runs = [CrewRun.objects.create(incident_id=pk) for pk in incidents]
    return [Step.objects.create(run=run, agent=Step.Agent.MONITOR).pk for run in runs]


def work(pk: int) -> Step:
    """As a worker's thread does it."""
    try:
        step: Step = Step.queue.claim(pk)
        brief = Brief("monitor", cases.build(step.run.incident), Triage, (), {"reading": None})
        answer = reasoners.think(step, brief)
        step.finish(output=answer.model_dump(), rung=step.rung, rung_reason=step.rung_reason)
        return step
    finally:
        connections["default"].close()


def the_cap_holds(model: oai.OpenAIServer, incidents: int, cap: Decimal) -> None:
    """Never a dollar beyond the cap and one call; the rest is worked by playbooks, and each step says why."""
    with ThreadPoolExecutor(WORKERS) as workers:
        worked = list(workers.map(work, steps(incidents)))
    costs = [cost for cost in ModelCall.objects.values_list("cost_usd", flat=True) if cost is not None]
    assert len(costs) == ModelCall.objects.count() == len(model.chats)
    assert cap <= sum(costs) <= cap + max(costs)
    assert Counter(step.rung for step in worked).keys() == {"model", "playbooks"}
    assert len(worked) == incidents
    reasons = {step.rung_reason for step in worked if step.rung == "playbooks"}
    assert all(reason.startswith("model: the daily budget is spent: $") for reason in reasons), reasons
    told = Notification.objects.filter(incident=None).order_by("pk")
    assert [each.title.partition(": ")[0].rpartition(" is ")[2] for each in told] == ["at 80 %", "spent"]


@pytest.mark.django_db(transaction=True)
def test_five_hundred_incidents_and_five_cents(model: oai.OpenAIServer) -> None:
    the_cap_holds(model, 500, Decimal("0.05"))


@pytest.mark.usefixtures("on_postgres")
def test_sixty_incidents_and_one_cent_on_postgresql(model: oai.OpenAIServer, settings: Any) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.01
    the_cap_holds(model, 60, Decimal("0.01"))


@pytest.mark.usefixtures("on_postgres")
def test_when_many_ask_in_one_moment_as_many_as_the_cap_has_room_for_are_let_in(settings: Any) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.05
    claimed = [Step.queue.claim(pk) for pk in steps(WORKERS)]

    def let_in(step: Step) -> bool:
        call = ModelCall(step=step, model="m", endpoint="e", request={}, reserved_usd=Decimal("0.02"))
        try:
            budget.reserve(call, step.run.incident)
        except budget.NotYet:
            return False
        return True

    for _ in range(5):
        ModelCall.objects.all().delete()
        assert sum(at_once([partial(let_in, step) for step in claimed])) == 2
