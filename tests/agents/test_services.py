"""Questions and answers: once, in time, and asked anew when they came to nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents import actions, policy, questions, reasoners, services
from agents.advance import advance
from agents.models import Action, ActionKind, CrewRun, Step
from agents.reading import ExpressionState
from agents.rules import Decision
from incidents.models import Event, Incident
from incidents.queue import State
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db


def late(action: Action) -> Action:
    Action.objects.filter(pk=action.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    action.refresh_from_db()
    return action


def test_an_answer_that_comes_too_late_is_none() -> None:
    action = late(an_action())
    for decide in (questions.approve, questions.reject):
        with pytest.raises(questions.NotWaiting):
            decide(action, by="alice")
    assert not Event.objects.filter(kind__in=("approved", "rejected")).exists()


def test_a_question_that_nobody_answered_may_be_asked_again() -> None:
    action = late(an_action())
    step = questions.ask_again(action, by="alice")
    action.refresh_from_db()
    assert action.status == Action.Status.EXPIRED
    assert (step.agent, step.state) == (Step.Agent.HEALER, State.WAITING)
    with pytest.raises(questions.CannotAsk, match="asked already"):
        questions.ask_again(action, by="bob")


def stopped_by_hand() -> actions.TargetState:
    return actions.TargetState("id", "image", "stopped", {}, "person", "2026-01-01T00:00:00Z", None)


def asked_now(step: Step, action: Action) -> str:
    """What `authorize()` would say of starting it, asked by that Healer."""
    state = stopped_by_hand()
    draft = services.draft(
        step, kind=ActionKind.RESTART_CONTAINER, target=action.target, reason="", state=state
    )
    fault = ExpressionState.FIRING
    return policy.authorize(draft, state=state, fault=fault, fault_reason="", approved=False).effect


def test_what_was_stopped_by_hand_is_asked_once_but_as_often_as_a_person_wants(settings) -> None:
    settings.REMEDIATION_MODE = "auto"
    action = late(an_action(target_state=services.snapshot(stopped_by_hand())))
    wanted = questions.ask_again(action, by="alice")
    assert asked_now(wanted, action) == "ask"
    Step.objects.filter(pk=wanted.pk).update(state=State.DONE)
    assert asked_now(services.add_step(wanted.run, Step.Agent.HEALER), action) == "refuse"


def test_a_question_withdrawn_by_the_end_of_its_incident_was_asked(settings) -> None:
    settings.REMEDIATION_MODE = "auto"
    action = an_action(target_state=services.snapshot(stopped_by_hand()))
    services.finish_run(action.incident)
    incident = an_incident(target=action.target)
    an_episode(incident)
    assert asked_now(a_run(incident).steps.get(agent=Step.Agent.HEALER), action) == "refuse"


def test_nobody_asks_again_while_the_crew_is_at_another_target() -> None:
    action = late(an_action())
    services.add_step(action.step.run, Step.Agent.ANALYST, focus=a_target("other"))
    with pytest.raises(questions.CannotAsk, match="another target"):
        questions.ask_again(action, by="alice")


def test_a_healer_waits_while_another_change_of_its_target_is_open() -> None:
    action = an_action()
    step = services.add_step(action.step.run, Step.Agent.HEALER, focus=action.target)
    advance(step.pk)
    step.refresh_from_db()
    assert (step.state, step.error) == (State.WAITING, "")
    refused = Decision("refuse")
    second = services.draft(
        step,
        kind=ActionKind.RESTART_CONTAINER,
        target=action.target,
        reason="",
        state=stopped_by_hand(),
    )
    with pytest.raises(services.NotNow):
        services.propose(second, refused)


def test_an_open_question_is_not_asked_twice() -> None:
    with pytest.raises(questions.CannotAsk, match="awaiting approval"):
        questions.ask_again(an_action(), by="alice")


def test_a_closed_incident_is_asked_nothing(operator) -> None:
    action = late(an_action())
    questions.expire(action)
    Incident.objects.update(status="closed", verdict="unknown", closed_at=timezone.now())
    answer = operator.post(f"/api/v1/actions/{action.pk}/ask-again")
    action.refresh_from_db()
    assert (answer.status_code, action.status) == (409, "expired")


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


def test_a_change_of_another_target_on_the_host_puts_no_proposal_off(settings) -> None:
    """It is over in a moment, and the executor waits for it; what is refused is not proposed again."""
    settings.REMEDIATION_MODE, settings.COOLDOWN_SECONDS = "auto", 0
    other = a_target("other")
    an_action(target=other, status="executing", executing_at=timezone.now())
    target = a_target("shop")
    incident = an_incident(target=target)
    an_episode(incident)
    state = actions.TargetState("id", "image", "stopped", {}, "crash", "2026-01-01T00:00:00Z", None)
    healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
    draft = services.draft(healer, kind=ActionKind.RESTART_CONTAINER, target=target, reason="", state=state)
    said = policy.authorize(draft, state=state, fault=ExpressionState.FIRING, fault_reason="", approved=False)
    assert said.effect == "allow"
