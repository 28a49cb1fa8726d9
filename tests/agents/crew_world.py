"""Containers that a whole crew looks after: alerts fire while they are down, and a restart may mend them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import actions, answers, judgement, proof, questions, reasoners, services
from agents.advance import advance
from agents.models import Action, ActionKind, Step
from agents.reading import ExpressionState
from agents.tools.base import ToolError
from incidents.models import Episode, Incident, Target
from incidents.queue import State
from tests.agents.test_executor import RUNNING
from tests.incidents.rows import a_target, an_episode, an_incident

ALERT = "ContainerDown"


@dataclass
class CrewWorld:
    """What is down, and what was restarted. `mends`: what a restart does; `fails`: the engine says no."""

    down: set[str] = field(default_factory=set)
    restarted: list[str] = field(default_factory=list)
    mends: bool = True
    fails: bool = False
    seen: Callable[[Episode], ExpressionState] | None = None

    def look(self, episode: Episode) -> judgement.Look:
        assert episode.target is not None
        if self.seen is not None:
            return judgement.Look(self.seen(episode), "as it is seen")
        firing = episode.target.name in self.down
        return judgement.Look(
            ExpressionState.FIRING if firing else ExpressionState.CLEARED, episode.target.name
        )

    def restart(self, action: Action) -> None:
        if self.fails:
            raise ToolError("the engine says no")
        self.restarted.append(action.target.name)
        if self.mends:
            self.down.discard(action.target.name)

    def breaks(self, name: str, *, ago: float = 30.0, **fields: Any) -> Incident:
        """A container goes down: its incident, with the crew's first steps done."""
        target = Target.objects.filter(name=name).first() or a_target(name)
        self.down.add(name)
        began = timezone.now() - timedelta(seconds=ago)
        wanted = {"status": "new", "target": target, "alert_name": ALERT, "started_at": began, **fields}
        incident = an_incident(**wanted)
        an_episode(incident, target=target, starts_at=began)
        services.start_run(incident.pk)
        work()
        return fresh(incident)

    def trouble(self, name: str, *, by: str | None = None) -> Incident:
        """An incident to its end. `by`: who says yes when asked; None: nobody does."""
        incident = self.breaks(name)
        asked = incident.actions.filter(status=Action.Status.AWAITING_APPROVAL).first()
        if asked is not None and by is not None:
            questions.approve(asked, by=by)
            work()
        return fresh(incident)


def fresh(incident: Incident) -> Incident:
    return Incident.objects.select_related("target").get(pk=incident.pk)


def work(rounds: int = 8) -> None:
    """Let every step that waits have its turn, and what follows; who waits for a heal goes on waiting."""
    for _ in range(rounds):
        waiting = Step.objects.filter(state=State.WAITING, waits_since=None)
        waiting.update(due_at=timezone.now())
        for pk in list(waiting.order_by("pk").values_list("pk", flat=True)):
            advance(pk)


def think(step: Step, brief: Any) -> answers.Answer:
    if brief.answer is answers.Triage:
        return answers.Triage(state="firing", summary="it is down")
    if brief.answer is answers.Diagnosis:
        return answers.Diagnosis(cause=f"{brief.case.target} died", certainty="LIKELY")
    return answers.Remediation(action="restart_container", target=brief.case.target, reason="it is down")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: Any) -> CrewWorld:
    """In `approve`, and nothing else in the way."""
    made = CrewWorld()
    spec = replace(
        actions.SPECS[ActionKind.RESTART_CONTAINER],
        state=lambda action: RUNNING,
        run=made.restart,
        evidence=lambda action: {},
        touches=lambda action: "restarts it",
    )
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, spec)
    monkeypatch.setattr(proof.Watcher, "look", lambda self, episode: made.look(episode))
    monkeypatch.setattr(reasoners, "think", think)
    settings.REMEDIATION_MODE = "approve"
    settings.COOLDOWN_SECONDS = settings.PROOF_HOLD_SECONDS = settings.PROOF_TIMEOUT_SECONDS = 0
    settings.RESTARTS_PER_HOUR = settings.CHANGES_PER_HOUR = 1000
    return made
