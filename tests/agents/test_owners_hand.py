"""The owner's hand: "I have it", a no with its reason, pauses and maintenance windows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import actions, answers, crew, pauses, policy, questions, reasoners, services
from agents.advance import advance
from agents.models import Action, ActionKind, CrewRun, MaintenanceWindow, Step
from agents.reading import ExpressionState
from agents.rules import Decision
from incidents import services as incident_services
from incidents.models import Event, Incident, Verdict
from incidents.queue import State
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
RUNNING = actions.TargetState("id", "image", "running", {}, None, None, None)


def proposed(step: Step, action: Action) -> Decision:
    """What `authorize()` says of the action's change, proposed anew by that step."""
    draft = services.draft(
        step, kind=ActionKind.RESTART_CONTAINER, target=action.target, reason="", state=RUNNING
    )
    return policy.authorize(
        draft, state=RUNNING, fault=ExpressionState.FIRING, fault_reason="", approved=False
    )


def codes(decision: Decision) -> set[str]:
    return {reason.code for reason in decision.reasons}


@pytest.fixture(autouse=True)
def auto(settings: Any) -> None:
    settings.REMEDIATION_MODE = "auto"


# --- "I have it" -----------------------------------------------------------------------------------


def test_who_takes_an_incident_over_stops_the_crew_and_not_the_watch() -> None:
    action = an_action()
    run = action.step.run
    waiting = services.add_step(run, Step.Agent.ANALYST)
    assert incident_services.take_over(action.incident, by="robin")
    action.refresh_from_db()
    incident = Incident.objects.get()
    assert (action.status, action.result) == (Action.Status.WITHDRAWN, "robin has it")
    assert (incident.status, incident.taken_over_by, incident.acknowledged_by) == (
        "proving",
        "robin",
        "robin",
    )
    advance(waiting.pk)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.output) == (State.DONE, None)
    assert Event.objects.get(actor="analyst").text == "stands back: robin has it"
    assert run.steps.filter(agent=Step.Agent.PROOF, state=State.WAITING).exists()


def test_an_incident_that_is_taken_over_before_the_crew_began_is_only_watched() -> None:
    target = a_target()
    incident = an_incident(target=target, status="new")
    an_episode(incident, target=target)
    incident_services.take_over(incident, by="robin")
    run = services.start_run(incident.pk)
    assert run is not None
    advance(run.steps.get(agent=Step.Agent.MONITOR).pk)
    assert Incident.objects.get().status == "proving"
    assert set(run.steps.values_list("agent", "state")) >= {("monitor", "done"), ("proof", "waiting")}


def test_what_an_agent_was_thinking_of_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    target = a_target()
    incident = an_incident(target=target)
    an_episode(incident, target=target)
    step = services.add_step(CrewRun.objects.create(incident=incident), Step.Agent.HEALER, focus=target)
    monkeypatch.setitem(
        actions.SPECS,
        ActionKind.RESTART_CONTAINER,
        replace(actions.SPECS[ActionKind.RESTART_CONTAINER], state=lambda *_: RUNNING),
    )

    def think(*_: Any) -> answers.Remediation:
        incident_services.take_over(incident, by="robin")
        return answers.Remediation(action="restart_container", target=target.key, reason="down")

    monkeypatch.setattr(reasoners, "think", think)
    advance(step.pk)
    action = Action.objects.get()
    assert action.status == Action.Status.REFUSED
    assert "taken_over" in {reason["code"] for reason in action.decision}
    assert Incident.objects.get().status == "proving"


def test_only_the_first_one_has_it_and_nobody_has_what_is_over() -> None:
    incident = an_incident()
    assert incident_services.take_over(incident, by="robin")
    assert not incident_services.take_over(incident, by="kim")
    assert Incident.objects.get().taken_over_by == "robin"
    closed = an_incident(Verdict.FALSE_ALARM)
    assert not incident_services.take_over(closed, by="robin")
    assert Event.objects.filter(kind="taken_over").count() == 1


def test_the_crew_goes_on_when_it_is_given_back() -> None:
    action = an_action()
    Step.objects.create(run=action.step.run, agent="monitor", state=State.DONE, output={"state": "firing"})
    incident_services.take_over(action.incident, by="robin")
    assert incident_services.give_back(action.incident, by="robin")
    assert not incident_services.give_back(action.incident, by="robin")
    step = action.step.run.steps.get(agent=Step.Agent.ANALYST, state=State.WAITING)
    assert step.focus == action.target
    assert "taken_over" not in codes(proposed(step, action))


def test_acknowledging_stops_nothing() -> None:
    action = an_action()
    incident_services.acknowledge(action.incident, by="robin")
    action.refresh_from_db()
    assert action.status == Action.Status.AWAITING_APPROVAL
    assert "taken_over" not in codes(proposed(action.step, action))


# --- a no ------------------------------------------------------------------------------------------


def test_a_no_ends_that_proposal_for_its_incident() -> None:
    action = an_action()
    questions.reject(action, by="robin", reason="it is the network", code="wrong_cause")
    decision = proposed(services.add_step(action.step.run, Step.Agent.HEALER), action)
    assert (decision.effect, codes(decision)) == ("refuse", {"rejected"})
    assert decision.text == "robin rejected it: Wrong Cause"
    event = Event.objects.get(kind="rejected")
    assert (event.text.endswith("(Wrong Cause, it is the network)"), event.data["code"]) == (
        True,
        "wrong_cause",
    )


def test_but_not_when_a_person_wants_it_again_nor_in_another_incident() -> None:
    action = an_action()
    questions.reject(action, by="robin")
    again = services.add_step(action.step.run, Step.Agent.HEALER, asked_by="robin")
    assert "rejected" not in codes(proposed(again, action))
    other = an_incident(target=action.target)
    an_episode(other, target=action.target)
    step = services.add_step(CrewRun.objects.create(incident=other), Step.Agent.HEALER)
    assert "rejected" not in codes(proposed(step, action))


def test_who_does_it_himself_has_the_incident() -> None:
    action = an_action()
    questions.reject(action, by="robin", code="mine")
    assert Incident.objects.get().taken_over_by == "robin"


# --- windows ---------------------------------------------------------------------------------------

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "at", "holds"),
    [
        ([], timedelta(hours=23), True),
        ([], timedelta(hours=22, minutes=59), False),
        ([], timedelta(hours=24, minutes=59), True),  # it began the day before
        ([], timedelta(hours=25), False),
        (["mon"], timedelta(hours=23), True),
        (["mon"], timedelta(hours=24, minutes=30), True),
        (["tue"], timedelta(hours=24, minutes=30), False),
        (["tue"], timedelta(hours=47), True),
    ],
)
def test_a_window_holds_at_its_times(days: list[str], at: timedelta, holds: bool) -> None:
    window = MaintenanceWindow(scope="*", days=days, starts=time(23), minutes=120)
    assert pauses.is_open(window, MONDAY + at) is holds


def test_a_window_is_of_the_clock_on_the_wall(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    window = MaintenanceWindow(scope="*", days=["mon"], starts=time(3), minutes=60)
    assert pauses.is_open(window, datetime(2026, 3, 2, 2, 30, tzinfo=UTC))  # winter
    assert pauses.is_open(window, datetime(2026, 7, 6, 1, 30, tzinfo=UTC))  # summer


def test_in_a_window_nothing_is_changed_and_the_reason_says_so() -> None:
    action = an_action()
    now = timezone.now()
    window = pauses.open_window(
        scope=f"host:{action.host}", days=[], starts=now.time(), minutes=60, by="robin", reason="disks"
    )
    decision = proposed(action.step, action)
    assert (decision.effect, decision.text) == ("refuse", f"it is {window}")
    assert pauses.end_window(window, by="robin")
    assert not pauses.end_window(window, by="robin")
    assert "paused" not in codes(proposed(action.step, action))
    assert list(Event.objects.filter(kind__in=("paused", "resumed")).values_list("actor", flat=True)) == [
        "robin",
        "robin",
    ]


def test_crew_steps_of_an_incident_nobody_has_are_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    action = an_action()
    step = services.add_step(action.step.run, Step.Agent.ANALYST)
    monkeypatch.setattr(crew, "leave", lambda *_: pytest.fail("nobody has it"))
    monkeypatch.setattr(reasoners, "think", lambda *_: answers.Diagnosis(cause="x", certainty="LIKELY"))
    advance(step.pk)
    step.refresh_from_db()
    assert step.output is not None
