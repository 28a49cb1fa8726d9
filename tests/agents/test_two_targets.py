"""Two containers of one incident: the question about one keeps the other from nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from agents import actions, answers, judgement, proof, questions, reasoners, services
from agents.advance import advance
from agents.models import Action, ActionKind, Step
from agents.reading import ExpressionState
from agents.tools.base import ToolError
from incidents import services as incident_services
from incidents.models import Episode, Incident, Notification, Rating, Verdict
from incidents.queue import State
from tests.agents.rows import an_action
from tests.agents.test_executor import RUNNING
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """Which containers are down, and which were restarted. A restart mends one."""

    down: set[str]
    restarted: list[str] = field(default_factory=list)

    def look(self, episode: Episode) -> judgement.Look:
        assert episode.target is not None
        firing = episode.target.name in self.down
        return judgement.Look(
            ExpressionState.FIRING if firing else ExpressionState.CLEARED, episode.target.name
        )

    def restart(self, action: Action) -> None:
        self.restarted.append(action.target.name)
        self.down.discard(action.target.name)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: Any) -> World:
    made = World({"web", "db"})
    spec = replace(
        actions.SPECS[ActionKind.RESTART_CONTAINER],
        state=lambda action: RUNNING,
        run=made.restart,
        evidence=lambda action: {},
    )
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, spec)
    monkeypatch.setattr(proof.Watcher, "look", lambda self, episode: made.look(episode))
    monkeypatch.setattr(reasoners, "think", think)
    settings.REMEDIATION_MODE, settings.COOLDOWN_SECONDS, settings.PROOF_HOLD_SECONDS = "approve", 0, 0
    return made


def think(step: Step, brief: Any) -> answers.Answer:
    if brief.answer is answers.Triage:
        return answers.Triage(state="firing", summary="it is down")
    if brief.answer is answers.Diagnosis:
        return answers.Diagnosis(cause=f"{brief.case.target} died", certainty="LIKELY")
    return answers.Remediation(action="restart_container", target=brief.case.target, reason="it is down")


@pytest.fixture
def incident(world: World) -> Incident:
    """One group brought both."""
    web = a_target("web")
    made = an_incident(status="new", target=web)
    for target in (web, a_target("db")):
        an_episode(made, target=target)
    services.start_run(made.pk)
    work()
    made.refresh_from_db()
    return made


def work(rounds: int = 12) -> None:
    """Let every step that waits have its turn, and those which follow."""
    for _ in range(rounds):
        Step.objects.filter(state=State.WAITING).update(due_at=timezone.now())
        for pk in list(Step.objects.filter(state=State.WAITING).order_by("pk").values_list("pk", flat=True)):
            advance(pk)


def action_on(name: str) -> Action:
    return Action.objects.get(target__name=name)


def statuses() -> dict[str, str]:
    return dict(Action.objects.values_list("target__name", "status"))


def test_while_one_question_is_open_the_other_container_is_analysed_and_asked_about(
    incident: Incident,
) -> None:
    assert statuses() == {"web": "awaiting_approval", "db": "awaiting_approval"}
    assert incident.status == "awaiting_approval"
    assert incident.root_cause == "docker:docker2/web died\ndocker:docker2/db died"
    told = Notification.objects.filter(kind="decision").values_list("title", flat=True)
    assert sorted(title.split()[1] for title in told) == ["db@docker2", "web@docker2"]


@pytest.mark.parametrize(("said", "left"), [(Rating.RIGHT, None), (Rating.WRONG, Rating.WRONG)])
def test_what_was_called_right_is_not_said_of_what_came_later(
    world: World, said: Rating, left: Rating | None
) -> None:
    web = a_target("web")
    incident = an_incident(status="new", target=web)
    an_episode(incident, target=web)
    services.start_run(incident.pk)
    work()
    incident.refresh_from_db()
    assert incident_services.rate(incident, by="alice", rating=said)
    an_episode(incident, target=a_target("db"))
    work()
    incident.refresh_from_db()
    assert incident.root_cause == "docker:docker2/web died\ndocker:docker2/db died"
    assert incident.rating == left


def test_each_approval_is_carried_out_alone_and_the_verdict_comes_when_both_are_settled(
    incident: Incident, world: World
) -> None:
    questions.approve(action_on("db"), by="alice")
    work()
    incident.refresh_from_db()
    assert (world.restarted, statuses()) == (["db"], {"web": "awaiting_approval", "db": "done"})
    assert (incident.status, incident.verdict) == ("awaiting_approval", None)
    questions.approve(action_on("web"), by="bob")
    work()
    incident.refresh_from_db()
    assert world.restarted == ["db", "web"]
    assert (incident.status, incident.verdict) == ("closed", Verdict.VERIFIED)
    assert [action_on(name).helped for name in ("db", "web")] == [True, True]


def test_two_approvals_at_once_are_both_carried_out(incident: Incident, world: World) -> None:
    for name in ("web", "db"):
        questions.approve(action_on(name), by="alice")
    incident.refresh_from_db()
    assert incident.status == "acting"
    work()
    incident.refresh_from_db()
    assert sorted(world.restarted) == ["db", "web"]
    assert incident.verdict == Verdict.VERIFIED


def test_a_no_to_one_leaves_the_other_question_open(incident: Incident, world: World) -> None:
    questions.reject(action_on("web"), by="alice")
    work()
    incident.refresh_from_db()
    assert (incident.status, statuses()["db"]) == ("awaiting_approval", "awaiting_approval")
    questions.approve(action_on("db"), by="alice")
    work()
    incident.refresh_from_db()
    assert (world.restarted, incident.status) == (["db"], "proving")  # web still fires
    assert questions.ask_again(action_on("web"), by="bob").focus == action_on("web").target


def test_a_question_that_nobody_answers_leaves_the_other_open(incident: Incident, world: World) -> None:
    Action.objects.filter(target__name="web").update(expires_at=timezone.now())
    work()
    incident.refresh_from_db()
    assert statuses() == {"web": "expired", "db": "awaiting_approval"}
    assert incident.status == "awaiting_approval"


def test_what_goes_ahead_counts_before_what_is_asked(incident: Incident, world: World) -> None:
    questions.approve(action_on("web"), by="alice")
    questions.reject(action_on("db"), by="alice")
    incident.refresh_from_db()
    assert incident.status == "acting"  # else the executor would take its yes for one that holds no longer
    work()
    assert world.restarted == ["web"]


def test_what_a_change_did_not_mend_is_told_though_another_question_is_newer(
    incident: Incident, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = actions.SPECS[ActionKind.RESTART_CONTAINER]

    def refused(action: Action) -> None:
        raise ToolError("port is already allocated")

    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, replace(spec, run=refused))
    questions.approve(action_on("web"), by="alice")
    work()
    assert statuses() == {"web": "failed", "db": "awaiting_approval"}
    assert Notification.objects.filter(title__contains="web@docker2", title__endswith="Failed").exists()


def test_a_target_has_one_open_action() -> None:
    action = an_action()
    healer = services.add_step(action.step.run, Step.Agent.HEALER)
    again = services.draft(
        healer, kind=ActionKind.RESTART_CONTAINER, target=action.target, reason="", state=RUNNING
    )
    again.incident, again.status = action.incident, Action.Status.APPROVED
    with pytest.raises(IntegrityError), transaction.atomic():
        again.save()
