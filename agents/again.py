"""Another look at an incident, because a person wants it."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agents import questions, services
from agents.models import Action, CrewRun, Step
from incidents import events
from incidents import services as incident_services
from incidents.models import Event, Incident, Verdict
from incidents.queue import LIVE
from incidents.wording import standing

Status = Incident.Status
WORKERS = (Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER, Step.Agent.EXECUTOR)


class CannotInvestigate(Exception):
    """There is nothing to investigate again, or it is being done; the message says why."""


@transaction.atomic
def investigate(incident: Incident, *, by: str) -> CrewRun:
    """A person wants the crew to look anew: at an open incident that is only watched, or at one that is over.

    That one is opened again. CannotInvestigate where the crew is at it, a change is under way or being
    judged, a person has it, or it is over for good: fixed, or ended by a person, and its alert is silent.
    """
    incident = services.lock_incident(incident.pk)
    was_over = incident.status == Status.CLOSED
    late = incident.actions.filter(status=Action.Status.AWAITING_APPROVAL, expires_at__lte=timezone.now())
    for action in late.select_related("incident", "target"):
        questions.expire(action)
        incident.status = action.incident.status
    if (why := why_not(incident)) is not None:
        raise CannotInvestigate(why)
    text = "wants another look"
    events.record(incident, Event.Kind.INVESTIGATE, by, text, {"opened": was_over})
    if not was_over:
        incident_services.transition(incident, Status.INVESTIGATING, actor=by, text=text)
        return services.begin_run(incident)
    incident_services.reopen(incident, actor=by, text=text)
    incident_services.end_when_all_resolved(incident, actor="crew")  # no sender will say it again
    run = services.start_run(incident.pk)
    assert run is not None  # it is locked, and new
    return run


def why_not(incident: Incident) -> str | None:
    """In words, of an incident that is locked; None when the crew may look anew."""
    return _settled(incident) if incident.status == Status.CLOSED else _busy(incident)


def _settled(incident: Incident) -> str | None:
    """Why a closed incident is not looked at again, or None."""
    same = Q(target=incident.target_id) if incident.target_id else Q(previous=incident)
    alike = Incident.objects.unresolved().filter(same, alert_name=incident.alert_name)
    if (later := alike.filter(pk__gt=incident.pk).first()) is not None:
        return f"#{later.pk} is about the same, and open"
    if incident.episodes.firing().exists():
        return None
    if incident_services.judged_by_person(incident):
        return f"{standing(incident).lower()}, and its alert is silent"
    return "it is fixed, and its alert is silent" if incident.verdict == Verdict.VERIFIED else None


def _busy(incident: Incident) -> str | None:
    """Why an open incident is not looked at anew, or None."""
    if incident.taken_over_at is not None:
        return f"{incident.taken_over_by} has it; give it back first"
    if incident.status != Status.PROVING:
        return f"it is {incident.get_status_display().lower()}"
    run = incident.runs.filter(finished_at=None).first()
    if run is not None and run.steps.filter(agent__in=WORKERS, state__in=LIVE).exists():
        return "the crew is at it now"
    if run is not None and Action.objects.repairs().filter(step__run=run).exists():
        return "whether the last change helped is being watched; that ends by itself"
    return None
