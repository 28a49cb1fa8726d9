"""A person wants another look: at what is only watched or over, and never at what is under way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents import again, answers, reasoners, services
from agents.models import Action, CrewRun, Step
from incidents import services as incident_services
from incidents.models import Event, Incident, Rating, Verdict
from incidents.queue import State
from tests.agents.crew_world import CrewWorld, fresh, think, work, world
from tests.incidents.rows import a_target, an_episode, an_incident

__all__ = ["world"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def watched(world: CrewWorld, monkeypatch: pytest.MonkeyPatch) -> Incident:
    """Nothing was proposed: the crew only watches."""

    def helpless(step: Step, brief: object) -> answers.Answer:
        answer = think(step, brief)
        return answers.Remediation(action="none", reason="?") if "action" in answer.model_dump() else answer

    monkeypatch.setattr(reasoners, "think", helpless)
    incident = world.breaks("web")
    assert incident.status == "proving"
    return incident


def refused(incident: Incident) -> str:
    before = CrewRun.objects.count()
    with pytest.raises(again.CannotInvestigate) as error:
        again.investigate(fresh(incident), by="alice")
    assert CrewRun.objects.count() == before
    assert not incident.events.filter(kind=Event.Kind.INVESTIGATE).exists()
    return str(error.value)


def test_what_is_only_watched_is_looked_at_anew(watched: Incident, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoners, "think", think)  # this time the crew knows what to do
    run = again.investigate(watched, by="alice")
    assert (run.number, fresh(watched).status) == (2, "investigating")
    first = watched.runs.get(number=1)
    assert first.finished_at is not None
    assert {step.error for step in first.steps.filter(agent="proof")} == {"another look began"}
    event = watched.events.get(kind=Event.Kind.INVESTIGATE)
    assert (event.actor, event.data) == ("alice", {"opened": False})
    work()
    assert fresh(watched).status == "awaiting_approval"
    assert run.steps.filter(agent="analyst", state=State.DONE).exists()


def test_a_new_diagnosis_is_not_rated(watched: Incident) -> None:
    incident_services.rate(watched, by="alice", rating=Rating.WRONG)
    again.investigate(watched, by="alice")
    assert fresh(watched).rating == "wrong", "until there is another"
    work()
    assert fresh(watched).rating is None


def test_what_the_crew_is_at_goes_on(world: CrewWorld) -> None:
    incident = an_incident(status="new", target=a_target())
    an_episode(incident)
    assert refused(incident) == "it is new"
    services.start_run(incident.pk)
    assert refused(incident) == "it is investigating"


def test_a_question_goes_before_unless_it_is_too_late(world: CrewWorld) -> None:
    incident = world.breaks("web")
    assert refused(incident) == "it is awaiting approval"
    Action.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert again.investigate(incident, by="alice").number == 2
    assert Action.objects.get().status == Action.Status.EXPIRED


def test_a_change_that_is_being_judged_is_judged_first(world: CrewWorld, settings) -> None:
    settings.PROOF_TIMEOUT_SECONDS = 600
    world.mends = False
    incident = world.trouble("web", by="bob")
    assert incident.status == "proving"
    assert "is being watched" in refused(incident)


def test_a_person_who_has_it_gives_it_back_first(watched: Incident) -> None:
    incident_services.take_over(watched, by="bob")
    assert refused(watched) == "bob has it; give it back first"


def test_what_is_over_and_still_fires_is_opened_again(world: CrewWorld) -> None:
    world.mends = False
    incident = world.trouble("web", by="bob")
    assert incident.verdict == Verdict.NOT_FIXED
    run = again.investigate(incident, by="alice")
    assert (fresh(incident).status, fresh(incident).verdict, run.number) == ("investigating", None, 2)
    assert incident.events.get(kind=Event.Kind.INVESTIGATE).data == {"opened": True}
    work()
    assert fresh(incident).status == "awaiting_approval"


def test_a_persons_verdict_stands_when_the_alert_is_silent(watched: Incident) -> None:
    incident_services.annotate(watched, by="bob", verdict=Verdict.RESOLVED_BY_HUMAN)
    watched.episodes.update(ends_at=timezone.now())
    assert refused(watched) == "resolved by a person, and its alert is silent"
    watched.episodes.update(ends_at=None)
    assert again.investigate(watched, by="alice").number == 2


def test_what_is_proven_stays_proven(world: CrewWorld) -> None:
    incident = world.trouble("web", by="bob")
    assert incident.verdict == Verdict.VERIFIED
    incident.episodes.update(ends_at=timezone.now())
    assert refused(incident) == "it is fixed, and its alert is silent"


def test_what_is_over_and_silent_ends_again(world: CrewWorld, watched: Incident) -> None:
    """No sender will say a second time that it is over; the look must end all the same."""
    world.down.clear()
    watched.episodes.update(ends_at=timezone.now())
    incident_services.close(fresh(watched), Verdict.UNKNOWN, actor="proof", note="no way to tell")
    again.investigate(watched, by="alice")
    assert fresh(watched).ended_at is not None
    work()
    assert fresh(watched).verdict == Verdict.CLEARED_BEFORE_ACTION


def test_what_came_back_as_another_incident_is_looked_at_there(watched: Incident) -> None:
    incident_services.close(watched, Verdict.UNKNOWN, actor="proof", note="no way to tell")
    later = an_incident(target=watched.target, alert_name=watched.alert_name)
    assert refused(watched) == f"#{later.pk} is about the same, and open"


def test_the_people_are_told_of_this_look_and_not_of_what_was_done_in_another(watched: Incident) -> None:
    action = Action(
        incident=watched,
        step=watched.runs.get().steps.get(agent="healer"),
        kind="restart_container",
        target=watched.target,
        host="docker2",
        reason="",
        status=Action.Status.DONE,
        digest="0",
        helped=False,
    )
    incident_services.close(watched, Verdict.NOT_FIXED, actor="proof", note="still true")
    action.save()
    again.investigate(watched, by="alice")
    work()
    told = watched.notifications.filter(dedup_key__contains=":analysed:2:").get()
    assert "needs a person" in told.title
    assert "No action: ?" in told.body
