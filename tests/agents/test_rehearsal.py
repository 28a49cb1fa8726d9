"""A test alert goes the way of any alert, changes nothing, and leaves no mark on what is counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import answers, judgement, proof, reasoners, rehearsal, services
from agents.models import Action, Step
from agents.reading import ExpressionState
from incidents import jobs, memory, problems
from incidents import services as incident_services
from incidents.models import Delivery, Event, Incident, Job, Problem, Verdict
from incidents.totals import totals
from tests.agents import crew_world
from tests.agents.crew_world import CrewWorld, world
from tests.incidents.rows import a_target, an_episode, an_incident

__all__ = ["world"]
pytestmark = pytest.mark.django_db


def work() -> None:
    """The job, as a worker takes it up when it is due."""
    Job.objects.filter(name=rehearsal.JOB).update(due_at=timezone.now())
    jobs.run(Job.objects.get(name=rehearsal.JOB).pk)


def later(monkeypatch: pytest.MonkeyPatch, span: timedelta) -> None:
    moment = timezone.now() + span

    class Set(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return moment.astimezone(tz)

    monkeypatch.setattr(timezone, "datetime", Set)


def test_it_comes_by_a_delivery_of_its_own_source() -> None:
    incident = Incident.objects.get(pk=rehearsal.send(by="kim"))
    delivery = Delivery.objects.get()
    assert (delivery.source, delivery.alerts) == ("homelab-test", 1)
    assert (incident.source, incident.alert_name, incident.severity) == (
        "homelab-test",
        "HomelabTest",
        "info",
    )
    assert "A test alert that kim sent" in incident.description
    assert incident.target is None
    assert Job.objects.get(name=rehearsal.JOB).requested_by == "kim"


def test_two_are_two_incidents() -> None:
    assert rehearsal.send(by="kim") != rehearsal.send(by="kim")


def test_it_waits_for_its_time_and_then_ends_as_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    incident = Incident.objects.get(pk=rehearsal.send(by="kim"))
    work()
    incident.refresh_from_db()
    assert incident.verdict is None
    job = Job.objects.get(name=rehearsal.JOB)
    assert timedelta(seconds=20) < job.due_at - timezone.now() <= rehearsal.LASTS
    later(monkeypatch, rehearsal.LASTS)
    work()
    incident.refresh_from_db()
    assert incident.verdict == Verdict.FALSE_ALARM
    assert incident.proof_note == "it was a test: nothing was wrong"
    assert not incident.episodes.firing().exists()
    assert Delivery.objects.count() == 2  # its end came by the same road
    assert incident.events.filter(kind=Event.Kind.RESOLVED_BY_SENDER).exists()


def test_whatever_the_crew_wants_it_changes_nothing(
    world: CrewWorld, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Not even in `auto`, with a model that names a container which is there."""
    settings.REMEDIATION_MODE = "auto"
    target = a_target()

    def think(step: Step, brief: Any) -> answers.Answer:
        answer = crew_world.think(step, brief)
        wants = isinstance(answer, answers.Remediation)
        return answer.model_copy(update={"target": target.key}) if wants else answer

    monkeypatch.setattr(reasoners, "think", think)
    firing = judgement.Look(ExpressionState.FIRING, "it fires")
    monkeypatch.setattr(proof.Watcher, "look", lambda self, episode: firing)
    services.start_run(rehearsal.send(by="kim"))
    crew_world.work()
    assert world.restarted == []
    assert {action.status for action in Action.objects.all()} == {Action.Status.REFUSED}


def test_it_counts_in_no_rate_and_becomes_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [rehearsal.send(by="kim") for _ in range(3)]
    later(monkeypatch, rehearsal.LASTS)
    work()
    assert (totals().incidents, totals().success_rate) == (3, None)
    for incident in Incident.objects.filter(pk__in=sent):
        problems.notice(memory.remember(incident).pk)
    assert not Problem.objects.exists()


def test_one_that_somebody_else_sent_under_its_name_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of a token may be any."""
    strange = an_episode(
        an_incident(source=rehearsal.SOURCE, alert_name=rehearsal.ALERT), starts_at=timezone.now()
    )
    incident = Incident.objects.get(pk=rehearsal.send(by="kim"))
    later(monkeypatch, rehearsal.LASTS)
    work()
    incident.refresh_from_db()
    assert incident.verdict == Verdict.FALSE_ALARM
    strange.refresh_from_db()
    assert strange.ends_at is not None


def test_one_that_a_person_ended_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    incident = Incident.objects.get(pk=rehearsal.send(by="kim"))
    incident_services.annotate(incident, by="kim", verdict=Verdict.RESOLVED_BY_HUMAN)
    later(monkeypatch, rehearsal.LASTS)
    work()
    incident.refresh_from_db()
    assert incident.verdict == Verdict.RESOLVED_BY_HUMAN
