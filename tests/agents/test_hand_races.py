"""A person takes an incident over or gives it back at any moment: nothing is asked in vain, or left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from agents import actions, crew, proof, questions, reasoners, services
from agents.models import Action, ActionKind, CrewRun, Step
from agents.policy import authorize
from agents.reading import ExpressionState
from incidents import services as incident_services
from incidents.models import Incident, Notification, Verdict
from incidents.queue import State
from tests.agents.crew_world import ALERT, CrewWorld, fresh, work, world
from tests.agents.test_executor import RUNNING
from tests.incidents.rows import a_target, an_episode, an_incident

__all__ = ["world"]
pytestmark = pytest.mark.django_db


def take(incident: Incident) -> None:
    assert incident_services.take_over(fresh(incident), by="alice")


def give_back(incident: Incident) -> None:
    assert incident_services.give_back(fresh(incident), by="alice")


def another_breaks(world: CrewWorld, incident: Incident) -> Any:
    other = a_target("db")
    world.down.add("db")
    an_episode(incident, target=other, alert_name=ALERT)
    return other


def test_taken_over_after_the_decision_nobody_is_asked(
    world: CrewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(action: Action, **facts: Any) -> Any:
        decision = authorize(action, **facts)
        incident_services.take_over(action.incident, by="alice")
        return decision

    monkeypatch.setattr("agents.crew.authorize", too_late)
    incident = world.breaks("web")
    work()
    assert not incident.actions.exists()
    assert not Notification.objects.filter(kind="decision").exists()
    Step.objects.filter(agent="healer").update(due_at=timezone.now())  # it was put back
    work()
    assert Step.objects.get(agent="healer").state == State.DONE
    assert fresh(incident).status == "proving"


def test_who_has_it_is_not_asked_again(world: CrewWorld) -> None:
    incident = world.breaks("web")
    action = incident.actions.get()
    questions.reject(action, by="alice", code="mine")
    assert not questions.may_ask_again(Action.objects.select_related("incident").get())
    with pytest.raises(questions.CannotAsk, match="alice has it"):
        questions.ask_again(action, by="bob")


def test_given_back_in_the_middle_of_a_turn_there_is_one_of_each(
    world: CrewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    think = reasoners.think

    def meanwhile(step: Step, brief: Any) -> Any:
        if step.agent == "monitor":
            take(step.run.incident)
            give_back(step.run.incident)
        return think(step, brief)

    monkeypatch.setattr(reasoners, "think", meanwhile)
    world.breaks("web")
    assert sorted(Step.objects.filter(agent__in=reasoners.THINKERS).values_list("agent", flat=True)) == [
        "analyst",
        "healer",
        "monitor",
    ]


def test_given_back_while_a_turn_stands_back_it_is_taken_after_all(
    world: CrewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = world.breaks("web")
    leave: Callable[[Step], None] = crew.leave

    def meanwhile(step: Step) -> None:
        if fresh(incident).taken_over_at:
            give_back(incident)
        leave(step)

    run = CrewRun.objects.get()
    services.add_step(run, Step.Agent.ANALYST, focus=incident.target)
    take(incident)
    monkeypatch.setattr(crew, "leave", meanwhile)
    work(20)
    assert run.steps.filter(agent="healer").count() == 2


def test_closed_while_a_turn_stands_back_nothing_is_left(
    world: CrewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = world.breaks("web")
    leave: Callable[[Step], None] = crew.leave

    def meanwhile(step: Step) -> None:
        incident_services.close(fresh(incident), Verdict.RESOLVED_BY_HUMAN, actor="alice", note="")
        leave(step)

    step = services.add_step(CrewRun.objects.get(), Step.Agent.ANALYST, focus=incident.target)
    take(incident)
    monkeypatch.setattr(crew, "leave", meanwhile)
    work()
    step.refresh_from_db()
    assert step.state == State.DONE


def test_what_broke_meanwhile_is_looked_at_after_it_is_given_back(world: CrewWorld) -> None:
    incident = world.breaks("web")
    take(incident)
    work()
    other = another_breaks(world, incident)
    work()
    assert not Step.objects.filter(focus=other).exists()
    give_back(incident)
    work(20)
    assert Step.objects.filter(agent="healer", focus=other).exists()


def test_taken_over_before_the_monitor_it_begins_with_the_monitor_when_it_is_given_back(
    world: CrewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    monkeypatch.setattr(
        proof, "adopt_state_checks", lambda alerts: checked.extend(each.incident_id for each in alerts)
    )
    target = a_target("web")
    world.down.add("web")
    incident = an_incident(status="new", target=target, alert_name=ALERT)
    an_episode(incident, target=target)
    take(incident)
    services.start_run(incident.pk)
    work()
    assert not checked
    give_back(incident)
    work()
    assert checked == [incident.pk]
    assert incident.actions.get().status == Action.Status.AWAITING_APPROVAL


def test_a_question_that_was_withdrawn_with_it_may_be_asked_after_it(
    world: CrewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = replace(
        RUNNING, status_class="stopped", stopped_by="unknown", stopped_at="2026-01-01T01:00:00Z"
    )
    spec = replace(actions.SPECS[ActionKind.RESTART_CONTAINER], state=lambda action: stopped)
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, spec)
    incident = world.breaks("web")
    take(incident)
    work()
    give_back(incident)
    work()
    assert [each.status for each in incident.actions.order_by("pk")] == ["withdrawn", "awaiting_approval"]


def test_an_incident_that_comes_back_is_the_crews(world: CrewWorld) -> None:
    incident = world.breaks("web", severity="critical")
    take(incident)
    incident_services.close(fresh(incident), Verdict.CLEARED_BEFORE_ACTION, actor="proof", note="x")
    assert incident_services.reopen(fresh(incident), actor="intake", text="again")
    assert (fresh(incident).taken_over_at, fresh(incident).taken_over_by) == (None, "")


def test_what_was_found_before_is_told_at_the_end(world: CrewWorld, settings: Any) -> None:
    settings.NOTIFY_URLS = ["json://127.0.0.1:1/a"]
    incident = world.breaks("web")
    take(incident)
    services.add_step(CrewRun.objects.get(), Step.Agent.ANALYST, focus=incident.target)
    work()
    incident_services.close(fresh(incident), Verdict.RESOLVED_BY_HUMAN, actor="alice", note="x")
    work()
    last = Notification.objects.order_by("-pk")[0]
    assert "Not analysed" not in last.body, last.body


@pytest.mark.parametrize("end", ["rejected", "expired"])
def test_to_ask_again_is_no_yes(world: CrewWorld, settings: Any, end: str) -> None:
    settings.REMEDIATION_MODE = "auto"
    world.seen = lambda episode: ExpressionState.UNKNOWN
    incident = world.breaks("web")
    action = incident.actions.get()
    if end == "rejected":
        questions.reject(action, by="alice", code="wrong_cause", reason="leave it")
    else:
        Action.objects.update(expires_at=timezone.now())
        questions.expire(action)
    world.seen = lambda episode: ExpressionState.FIRING
    questions.ask_again(Action.objects.get(), by="link in json-1")
    work()
    assert world.restarted == []
    asked = incident.actions.latest("pk")
    assert asked.status == Action.Status.AWAITING_APPROVAL
    assert "asked_again" in {reason["code"] for reason in asked.decision}


def test_a_form_that_is_refused_rejects_nothing(world: CrewWorld, person: Callable[..., Client]) -> None:
    incident = world.breaks("web")
    action = incident.actions.get()
    said = {"code": "mine", "reason": "x" * 1001}
    person(staff=True).post(f"/incidents/{incident.pk}/actions/{action.pk}/reject", said)
    action.refresh_from_db()
    assert action.status == Action.Status.AWAITING_APPROVAL


def test_a_secret_in_a_persons_words_is_shown_to_nobody(world: CrewWorld, operator: Any) -> None:
    secret = "I log in with password=hunter2hunter2 myself"
    incident = world.breaks("web")
    questions.reject(incident.actions.get(), by="alice", reason=secret)
    target = a_target("another")
    operator.post("/api/v1/pauses", {"scope": target.key, "reason": secret})
    assert incident.target is not None
    services.work_on(CrewRun.objects.get(), incident.target)
    work()
    for path in ("/api/v1/actions", "/api/v1/pauses", f"/api/v1/incidents/{incident.pk}"):
        shown = operator.get(path).content.decode()
        assert "hunter2hunter2" not in shown, path
    assert "[redacted]" in operator.get("/api/v1/actions").content.decode()
