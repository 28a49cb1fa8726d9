"""A person's yes and no over the API, and pauses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.models import Action, Pause, Step
from incidents.models import Event, Incident
from tests.agents.rows import an_action
from tests.conftest import Api
from tests.incidents.rows import a_target

pytestmark = pytest.mark.django_db


def test_an_approval_lets_the_executor_begin(operator: Api) -> None:
    action = an_action()
    answer = operator.post(f"/api/v1/actions/{action.pk}/approve")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["status"], answer.json()["decided_by"]) == ("approved", "operator")
    assert Incident.objects.get().status == "acting"
    assert Step.objects.filter(agent="executor").count() == 1
    assert Event.objects.filter(kind="approved", actor="operator").exists()


def test_a_rejection_keeps_its_reason(operator: Api) -> None:
    action = an_action()
    answer = operator.post(f"/api/v1/actions/{action.pk}/reject/", {"reason": "a backup runs"})
    assert (answer.json()["status"], answer.json()["result"]) == ("rejected", "a backup runs")
    assert Incident.objects.get().status == "proving"


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_an_answer_is_used_once(operator: Api, decision: str) -> None:
    action = an_action()
    assert operator.post(f"/api/v1/actions/{action.pk}/{decision}").status_code == 200
    again = operator.post(f"/api/v1/actions/{action.pk}/approve")
    assert again.status_code == 410
    assert again.json()["status"] == Action.objects.get().status
    assert Step.objects.filter(agent="executor").count() == (decision == "approve")


def test_an_answer_after_the_time_is_gone(operator: Api) -> None:
    action = an_action(expires_at=timezone.now() - timedelta(seconds=1))
    answer = operator.post(f"/api/v1/actions/{action.pk}/approve")
    assert (answer.status_code, answer.json()["status"]) == (410, "awaiting_approval")
    assert Action.objects.get().decided_at is None


def test_an_action_that_is_not_there(operator: Api) -> None:
    assert operator.post("/api/v1/actions/7/approve").status_code == 404
    assert operator.get(f"/api/v1/incidents/{'9' * 18}/runs").status_code == 404


def test_a_pause_and_its_end(operator: Api) -> None:
    target = a_target()
    until = timezone.now() + timedelta(hours=1)
    made = operator.post(
        "/api/v1/pauses", {"scope": target.key, "until": until.isoformat(), "reason": "I work on it"}
    )
    assert made.status_code == 201, made.content
    assert (made.json()["by"], made.json()["lifted_at"]) == ("operator", None)
    lifted = operator.post(f"/api/v1/pauses/{made.json()['id']}/lift")
    assert lifted.json()["lifted_at"] is not None
    again = operator.post(f"/api/v1/pauses/{made.json()['id']}/lift")
    assert again.json()["lifted_at"] == lifted.json()["lifted_at"]
    assert list(Event.objects.values_list("kind", flat=True)) == ["paused", "resumed"]


@pytest.mark.parametrize("scope", ["*", "host:docker2", "docker:docker2/jellyfin"])
def test_what_can_be_paused(operator: Api, scope: str) -> None:
    a_target()
    assert operator.post("/api/v1/pauses", {"scope": scope}).status_code == 201
    assert Pause.objects.get().scope == scope


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"scope": ""},
        {"scope": "jellyfin"},
        {"scope": "host:docker3"},
        {"scope": "host:"},
        {"scope": "*", "until": "2020-01-01T00:00:00Z"},
        {"scope": "*", "until": "soon"},
        {"scope": "*", "until": "9999-12-31T23:59:59-23:00"},
        {"scope": "*", "reason": "x" * 301},
        {"scope": 5e400},
        [],
    ],
)
def test_a_pause_that_would_not_brake_is_a_400(operator: Api, wanted: Any) -> None:
    a_target()
    assert operator.post("/api/v1/pauses", wanted).status_code == 400
    assert Pause.objects.count() == 0
