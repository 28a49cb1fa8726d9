"""Whom an open incident waits for when it is only watched: the proof, or a person."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from agents import rehearsal
from agents.models import Action, Step
from incidents.models import Incident
from incidents.wording import standing
from tests.agents.rows import a_run, an_action
from tests.conftest import Api
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
LEFT, WATCHED = "Needs you", "Watching for proof"


def watched(**fields: Any) -> Incident:
    """An incident whose alert fires, with the crew done with it."""
    incident = an_incident(status="proving", target=a_target(), **fields)
    an_episode(incident)
    a_run(incident)
    return incident


def test_nothing_was_proposed_so_a_person_is_needed_and_the_api_says_so(viewer: Api) -> None:
    incident = watched()
    assert viewer.get(f"/api/v1/incidents/{incident.pk}").json()["standing"] == LEFT


@pytest.mark.parametrize(
    ("status", "stands"),
    [
        (Action.Status.DONE, WATCHED),
        (Action.Status.REJECTED, LEFT),
        (Action.Status.EXPIRED, LEFT),
        (Action.Status.REFUSED, LEFT),
        (Action.Status.WITHDRAWN, LEFT),
        (Action.Status.FAILED, LEFT),
        (Action.Status.UNKNOWN, LEFT),
    ],
)
def test_only_a_change_that_was_made_waits_for_its_proof(status: Action.Status, stands: str) -> None:
    incident = watched()
    an_action(incident, status=status, executing_at=timezone.now())
    assert standing(incident) == stands


def test_a_change_of_another_target_or_of_an_earlier_run_helps_nothing() -> None:
    incident = watched()
    action = an_action(incident, a_target("web"), status=Action.Status.DONE, executing_at=timezone.now())
    assert standing(incident) == LEFT
    Action.objects.update(target=incident.target)
    assert standing(incident) == WATCHED
    run = action.step.run
    run.finished_at = timezone.now()
    run.save()
    assert standing(incident) == LEFT


@pytest.mark.parametrize("agent", [Step.Agent.ANALYST, Step.Agent.HEALER])
def test_while_an_agent_is_at_it_nobody_is_needed(agent: Step.Agent) -> None:
    """A Healer may wait for the alert to heal itself."""
    incident = watched()
    Step.objects.create(run=incident.runs.get(), agent=agent, number=2, waits_since=timezone.now())
    assert standing(incident) == WATCHED


def test_what_the_sender_resolved_ends_by_itself() -> None:
    incident = watched()
    incident.episodes.update(ends_at=timezone.now())
    assert standing(incident) == WATCHED


def test_a_test_alert_ends_by_itself() -> None:
    assert standing(watched(source=rehearsal.SOURCE)) == WATCHED


def test_who_has_it_is_not_called_again() -> None:
    incident = watched(taken_over_at=timezone.now(), taken_over_by="kim")
    assert standing(incident) == "kim has it"
