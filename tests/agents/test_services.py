"""Questions and answers: once, in time, and asked anew when they came to nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents import reasoners, services
from agents.models import Action, CrewRun, Step
from incidents.models import Event, Incident
from incidents.queue import State
from tests.agents.rows import an_action
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db


def late(action: Action) -> Action:
    Action.objects.filter(pk=action.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    action.refresh_from_db()
    return action


def test_an_answer_that_comes_too_late_is_none() -> None:
    action = late(an_action())
    for decide in (services.approve, services.reject):
        with pytest.raises(services.NotWaiting):
            decide(action, by="alice")
    assert not Event.objects.filter(kind__in=("approved", "rejected")).exists()


def test_a_question_that_nobody_answered_may_be_asked_again() -> None:
    action = late(an_action())
    step = services.ask_again(action, by="alice")
    action.refresh_from_db()
    assert action.status == Action.Status.EXPIRED
    assert (step.agent, step.state) == (Step.Agent.HEALER, State.WAITING)
    with pytest.raises(services.CannotAsk, match="asked already"):
        services.ask_again(action, by="bob")


def test_an_open_question_is_not_asked_twice() -> None:
    with pytest.raises(services.CannotAsk, match="awaiting approval"):
        services.ask_again(an_action(), by="alice")


def test_a_closed_incident_is_asked_nothing(operator) -> None:
    action = late(an_action())
    services.expire(action)
    Incident.objects.update(status="closed", verdict="unknown", closed_at=timezone.now())
    answer = operator.post(f"/api/v1/actions/{action.pk}/ask-again")
    assert (answer.status_code, answer.json()["status"]) == (409, "expired")


def test_the_api_asks_again(operator, viewer) -> None:
    action = late(an_action())
    assert viewer.post(f"/api/v1/actions/{action.pk}/ask-again").status_code == 403
    assert operator.post(f"/api/v1/actions/{action.pk}/ask-again").status_code == 202


def test_a_run_is_started_once() -> None:
    incident = an_incident(status="new")
    assert services.start_run(incident.pk) is not None
    assert services.start_run(incident.pk) is None
    assert CrewRun.objects.count() == 1


def test_an_incident_that_came_back_gets_another_run() -> None:
    incident = an_incident(status="new")
    services.start_run(incident.pk)
    Incident.objects.update(status="new")
    run = services.start_run(incident.pk)
    assert run is not None
    assert run.number == 2
    assert CrewRun.objects.filter(finished_at=None).count() == 1


def test_model_steps_leave_two_workers_free(settings) -> None:
    settings.OPENAI_BASE_URL = "http://127.0.0.1:1/v1"
    places = settings.WORKER_THREADS - 2
    held = [reasoners.slot(Step.Agent.ANALYST) for _ in range(places)]
    assert all(each.__enter__() for each in held)
    with reasoners.slot(Step.Agent.ANALYST) as free:
        assert not free
    with reasoners.slot(Step.Agent.PROOF) as free:
        assert free
    for each in held:
        each.__exit__(None, None, None)
    with reasoners.slot(Step.Agent.ANALYST) as free:
        assert free
